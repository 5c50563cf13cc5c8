"""The commands of docs/deployment.md, one by one: exported files do what the checkpoint does."""

import json
import os
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
from src.data.video_file import VideoFile, writing_video
from src.predictor import Detector
from tests.ascend310.lite_wheel import PACKAGE, downloaded_wheel
from tests.deploy.small_models import small_model
from tests.end_to_end.commands import ROOT, environment
from tests.end_to_end.test_documents import commands_of

# The page's commands of these three programs, in its order.
(EXPORT_ONNX, EXPORT_MINDIR, EVALUATE, INFER, EVALUATE_ON_CPU, INFER_VIDEO, INFER_CAMERA, INFER_IN_TILES, EXPORT_INT8,
 EVALUATE_BFLOAT16, EXPORT_LITE, EVALUATE_LITE, EXPORT_OM) = (
    command for command in commands_of(ROOT / "docs/deployment.md")
    if command.startswith(("python export.py ", "python eval.py ", "python infer.py "))
)  # fmt: skip


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


@pytest.fixture(scope="module")
def exported(folder: Path) -> Path:
    """The same folder with detector.onnx and detector.mindir."""
    for command, name in ((EXPORT_ONNX, "detector.onnx"), (EXPORT_MINDIR, "detector.mindir")):
        output = run(command, folder).stdout
        assert "configuration: outputs/first/config.yaml" in output
        assert "largest difference from the checkpoint" in output and f"{name} is ready" in output
    return folder


def test_the_pages_commands_give_the_checkpoints_ap(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = exported
    for command in (EVALUATE, INFER):
        run(command, folder)
    again = json.loads((folder / "outputs/first/found_onnx.json").read_text())
    expected = json.loads((folder / "found.json").read_text())
    for ours, theirs in zip(again.values(), expected.values(), strict=True):
        assert len(ours["predictions"]) == len(theirs["predictions"])
        assert ours["predictions"][0]["score"] == pytest.approx(theirs["predictions"][0]["score"], abs=1e-4)
    results = folder / "outputs/first"
    evaluate = EVALUATE.replace("detector.onnx", "{}")
    aps = [bbox_map(results / "detector_metrics.json")]
    if find_spec("openvino"):
        run(f"{EVALUATE} --runtime openvino", folder)
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
    mistaken = run(f"{EVALUATE} --keep_ratio 0", folder, expect=2)
    assert mistaken.stderr.splitlines() == [
        "error: outputs/first/detector.onnx was exported with keep_ratio True, but outputs/first/config.yaml has False"
    ]


def test_the_page_names_what_onnx_runtime_runs_on(exported: Path) -> None:
    assert "ONNX Runtime runs on CPUExecutionProvider" in run(EVALUATE_ON_CPU, exported).stdout


def test_the_pages_video(exported: Path) -> None:
    """That of a camera: tests/commands/test_infer_camera.py."""
    picture = cv2.imread(str(exported / "data/shapes/validation/data/000001.jpg"))
    with writing_video(exported / "clip.mp4", 4.0, (128, 128)) as video:
        for _ in range(3):
            video.add(picture)
    run(INFER_VIDEO, exported)
    lines = (exported / "clip.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 2] and json.loads(lines[2])["predictions"]
    assert VideoFile(exported / "clip_found.mp4").count == 3
    assert "--pred_input 0 " in INFER_CAMERA


@pytest.mark.parametrize("page", ["docs/deployment.md", "README.md"])
def test_the_pages_large_picture(exported: Path, page: str) -> None:
    (command,) = [command for command in commands_of(ROOT / page) if "large.jpg" in command]
    assert command == INFER_IN_TILES or page == "README.md"
    write_large_picture(exported)
    run(command, exported)
    found = json.loads((exported / "large.json").read_text())["large.jpg"]
    assert found["width"] == 768 and len(found["predictions"]) > 8  # of each of its views at most 4


def test_the_pages_int8(folder: Path) -> None:
    output = run(EXPORT_INT8, folder).stdout
    assert "int8: calibrated on 1 images" in output and "AP on data/shapes/validation: bbox float32" in output


def test_the_pages_bfloat16(exported: Path) -> None:
    """Where the processor has no bfloat16, one line says so."""
    if find_spec("openvino") is None:
        pytest.skip("no openvino")
    # not in this process, whose first use decides which instructions OpenVINO takes
    question = "import openvino; print(openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True).stdout
    if "BF16" not in answer:
        (line,) = run(EVALUATE_BFLOAT16, exported, expect=2).stderr.splitlines()
        assert line.startswith("error: --precision bfloat16: this processor does not have bfloat16")
        return
    run(EVALUATE, exported)
    expected = bbox_map(exported / "outputs/first/detector_metrics.json")
    run(EVALUATE_BFLOAT16, exported)
    assert bbox_map(exported / "outputs/first/detector_metrics.json") == pytest.approx(expected, abs=0.1)


def test_the_pages_om_without_atc(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    output = run(EXPORT_OM, folder).stdout
    assert "on_chip.om is not made: ATC of CANN is not installed here; run" in output
    written = {path.name for path in (folder / "outputs/first").glob("on_chip*")}
    assert written == {"on_chip.onnx", "on_chip.onnx.json", "on_chip.atc.sh"}
    words = shlex.split((folder / "outputs/first/on_chip.atc.sh").read_text(), comments=True)
    assert "--model=on_chip.onnx" in words and "--precision_mode=force_fp16" in words
    assert "--soc_version=Ascend310P3" in words


@pytest.mark.slow
def test_the_pages_lite(folder: Path) -> None:
    """With the wheel as its user's cache has it, which is what the page downloads."""
    wheel = downloaded_wheel()
    link = folder / "mindspore_lite-2.0.0-cp37-cp37m-manylinux1_x86_64.whl"
    assert link.name == wheel.name
    link.symlink_to(wheel)
    for program in ("export.py", "eval.py"):
        (folder / program).symlink_to(ROOT / program)
    lines = [command for command in commands_of(ROOT / "docs/deployment.md") if "lite" in command]
    download, unpack, home, *others = [line for line in lines if not line.startswith("converter_lite")]
    assert PACKAGE in download and others == [EXPORT_LITE, EVALUATE_LITE]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", "\n".join([unpack, home, *others])], cwd=folder, env=environment(PATH=path),
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "on_lite.mindir is ready" in done.stdout
    metrics = folder / "outputs/first/on_lite_metrics.json"
    found = bbox_map(metrics)
    run(EVALUATE_LITE.replace("on_lite.mindir", "on_lite.onnx"), folder)
    assert found == pytest.approx(bbox_map(metrics), abs=1e-3) and found > 0.2
