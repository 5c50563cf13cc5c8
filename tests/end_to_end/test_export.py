"""The commands of docs/deployment.md, one by one: exported files do what the checkpoint does."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.config import save_config
from src.data.synthetic import main as write_synthetic
from src.predictor import Detector
from tests.deploy.small_models import small_model
from tests.end_to_end.commands import ROOT, environment
from tests.end_to_end.test_documents import commands_of

# Words of the page's commands that other tests run: tests/commands (videos, cameras, app.py, conversions) and
# tests/deploy (bfloat16).
RUN_ELSEWHERE = ("clip", "camera", "app.py", "LITE", " OM ", "bfloat16")


def run(command: str, folder: Path, expect: int = 0) -> subprocess.CompletedProcess:
    words = shlex.split(command)
    words[:2] = [sys.executable, str(ROOT / words[1])]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == expect, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def bbox_map(path: Path) -> float:
    return json.loads(path.read_text())["stats"]["bbox_mAP"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder as trainings leave it, with images whose ground truth is what the small checkpoint finds in them."""
    folder = tmp_path_factory.mktemp("deployment")
    data = folder / "data/shapes"
    write_synthetic(["--output_dir", str(data), "--train", "1", "--val", "20", "--image_size", "128"])
    checkpoints = folder / "outputs/first/checkpoints"
    checkpoints.mkdir(parents=True)
    config = small_model("retinanet", checkpoints)
    Path(config.checkpoint_path).rename(checkpoints / "best.ckpt")
    save_config(config.model_copy(update={"checkpoint_path": ""}), folder / "outputs/first/config.yaml")
    run(
        "python infer.py --config_path outputs/first/config.yaml --checkpoint_path outputs/first/checkpoints/best.ckpt "
        "--pred_input data/shapes/validation/data --pred_output found.json",
        folder,
    )
    labels = json.loads((data / "validation/labels.json").read_text())
    numbers = {Path(image["file_name"]).name: image["id"] for image in labels["images"]}
    ids = {category["name"]: category["id"] for category in labels["categories"]}
    labels["annotations"] = []
    for name, entry in json.loads((folder / "found.json").read_text()).items():
        for found in entry["predictions"][::2]:
            box = [found["bbox"][key] for key in ("x_min", "y_min", "width", "height")]
            place = {"image_id": numbers[Path(name).name], "category_id": ids[found["class"]["name"]], "iscrowd": 0}
            number = len(labels["annotations"]) + 1
            labels["annotations"].append({"id": number, **place, "bbox": box, "area": box[2] * box[3]})
    (data / "validation/labels.json").write_text(json.dumps(labels))
    return folder


def write_large_picture(folder: Path) -> None:
    """large.jpg of 768 x 768: 36 times one of the validation images."""
    first = sorted((folder / "data/shapes/validation/data").glob("*.jpg"))[0]
    cv2.imwrite(str(folder / "large.jpg"), np.tile(cv2.imread(str(first)), (6, 6, 1)))


def test_the_pages_commands_give_the_checkpoints_ap(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [
        command
        for command in commands_of(ROOT / "docs/deployment.md")
        if ("export.py" in command or ".onnx" in command) and not any(word in command for word in RUN_ELSEWHERE)
    ]
    programs = ["export.py", "export.py", "eval.py", "infer.py", "eval.py", "infer.py", "export.py"]
    assert [c.split()[1] for c in commands] == programs
    write_large_picture(folder)
    outputs = [run(command, folder).stdout for command in commands]
    for output, name in zip(outputs, ("detector.onnx", "detector.mindir"), strict=False):
        assert "configuration: outputs/first/config.yaml" in output
        assert "largest difference from the checkpoint" in output and f"{name} is ready" in output
    assert "ONNX Runtime runs on CPUExecutionProvider" in outputs[4]
    in_tiles = json.loads((folder / "large.json").read_text())["large.jpg"]
    assert in_tiles["width"] == 768 and len(in_tiles["predictions"]) > 8  # of each of its views at most 4
    assert "int8: calibrated on 1 images" in outputs[6] and "AP on data/shapes/validation: float32" in outputs[6]
    again = json.loads((folder / "outputs/first/found_onnx.json").read_text())
    expected = json.loads((folder / "found.json").read_text())
    for ours, theirs in zip(again.values(), expected.values(), strict=True):
        assert len(ours["predictions"]) == len(theirs["predictions"])
        assert ours["predictions"][0]["score"] == pytest.approx(theirs["predictions"][0]["score"], abs=1e-4)
    results = folder / "outputs/first"
    evaluate = commands[2].replace("detector.onnx", "{}")
    aps = [bbox_map(results / "detector_metrics.json")]
    if find_spec("openvino"):
        run(f"{commands[2]} --runtime openvino", folder)
        aps.append(bbox_map(results / "detector_metrics.json"))
    alone = folder / "detector.onnx"
    shutil.copyfile(results / "detector.onnx", alone)
    entries = [found.to_json() for found in Detector(alone).predict(folder / "data/shapes/validation/data")]
    assert entries == list(again.values())
    monkeypatch.chdir(folder)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/deployment.md").read_text(), re.S):
        exec(compile(block, "deployment.md", "exec"), {})
    run(evaluate.format("detector.mindir"), folder)
    aps.append(bbox_map(results / "detector_metrics.json"))
    run(evaluate.format("checkpoints/best.ckpt"), folder)
    wanted = bbox_map(results / "checkpoints/best_metrics.json")
    assert 0.2 < wanted < 0.9
    assert aps == pytest.approx([wanted] * len(aps), abs=1e-3)
    mistaken = run(f"{commands[2]} --keep_ratio 0", folder, expect=2)
    assert mistaken.stderr.splitlines() == [
        "error: outputs/first/detector.onnx was exported with keep_ratio True, but outputs/first/config.yaml has False"
    ]
