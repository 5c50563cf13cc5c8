"""run_infer_310.sh as a user runs it: on the CPU with an exported network, and with the program and its stand-in."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from src.config import load_config
from src.data.formats.coco import CocoDataset
from src.data.image import load_image
from src.data.network_input import EvalTransform
from src.evaluation.coco_evaluator import CocoEvaluator
from src.models import build_detector
from src.weights.checkpoint import save_weights
from tests.ascend310.program import built_program
from tests.end_to_end.commands import TINY_CONFIG, run
from tests.scripts.shell import run_script

SCRIPT = "nas_fpn/run_infer_310.sh"
TABLE = " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = "


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> tuple[Path, list[dict]]:
    """A tiny network as MINDIR in its raw form, and what the network itself finds in the validation images."""
    folder = tmp_path_factory.mktemp("exported")
    path = folder / "tiny.yaml"
    path.write_text(f"{TINY_CONFIG}test_cfg: {{score_thr: 0.001}}\nval_dataset: {shapes}/validation\n")
    config = load_config(path)
    net = build_detector(config)
    net.bbox_head.retina_cls.weight.set_data(10 * net.bbox_head.retina_cls.weight.value())  # scores that differ
    save_weights(folder / "tiny.ckpt", {name: value.asnumpy() for name, value in net.parameters_dict().items()})
    run("export.py", "--config_path", path, "--checkpoint_path", "tiny.ckpt", "--file_name", "tiny", cwd=folder)
    dataset, prepare = CocoDataset(config.val_dataset, config.class_names, "val"), EvalTransform.from_config(config)
    evaluator = CocoEvaluator.for_dataset(dataset)
    for record in dataset.records:
        image, info = prepare(load_image(record.image))
        evaluator.add([record.image_id], net.predict(image[None], info[None]))
    return folder / "tiny.mindir", evaluator.results()


def run_infer_310(folder: Path, exported: Path, shapes: Path, **environment: str) -> subprocess.CompletedProcess:
    arguments = (exported, shapes / "validation/data", shapes / "validation/labels.json")
    return run_script(SCRIPT, *arguments, cwd=folder, timeout=600, **environment)


def test_on_the_cpu(tmp_path: Path, exported: tuple[Path, list[dict]], shapes: Path) -> None:
    mindir, expected = exported
    done = run_infer_310(tmp_path, mindir, shapes, DEVICE_TARGET="CPU")
    assert done.returncode == 0, done.stdout + done.stderr
    assert TABLE in done.stdout and TABLE in (tmp_path / "acc.log").read_text()
    assert "6 of 6 images predicted" in (tmp_path / "infer.log").read_text()
    assert (tmp_path / "time_Result/test_perform_static.txt").read_text().endswith("ms of infer_count 6\n")
    assert len(list((tmp_path / "result_Files").iterdir())) == 12
    assert "stats" in json.loads((tmp_path / "predictions_metrics.json").read_text())
    found = json.loads((tmp_path / "predictions.json").read_text())
    assert len(found) > 100
    # Rounding may change which of two nearly equal detections comes first, or is suppressed.
    assert share_found(expected, found) > 0.98 and share_found(found, expected) > 0.98


def share_found(wanted: list[dict], results: list[dict]) -> float:
    """Share of detections that are among the results: same image and category, close in box and score."""
    wanted_rows, rows = (
        np.array([[1e4 * d["image_id"], 1e4 * d["category_id"], *d["bbox"], 100 * d["score"]] for d in detections])
        for detections in (wanted, results)
    )
    return float((np.abs(wanted_rows[:, None] - rows[None]).max(axis=2).min(axis=1) < 0.1).mean())


def test_with_the_program(tmp_path: Path, exported: tuple[Path, list[dict]], shapes: Path) -> None:
    build = str(built_program())
    done = run_infer_310(tmp_path, exported[0], shapes, PREDICTOR="stand_in", BUILD_DIR=build, DEVICE_TARGET=None)
    assert done.returncode == 0, done.stdout + done.stderr
    assert TABLE in (tmp_path / "acc.log").read_text()
    assert "6 of 6 images predicted" in (tmp_path / "infer.log").read_text()


def test_a_failure_ends_the_road(tmp_path: Path, exported: tuple[Path, list[dict]], shapes: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run_script(
        SCRIPT, exported[0], empty, shapes / "validation/labels.json", "0", cwd=tmp_path, DEVICE_TARGET="CPU"
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {empty}: no image (png, jpg, jpeg, bmp, webp) in this folder\n"
    assert done.stderr in (tmp_path / "infer.log").read_text()
    assert not (tmp_path / "predictions.json").exists()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["none", "images", "a.json"], {}, "MINDIR_PATH: no such file: none"),
        (["n.mindir", "none", "a.json"], {}, "DATA_PATH: no such folder: none"),
        (["n.mindir", "images", "none"], {}, "ANNO_PATH: no such file or folder: none"),
        (["n.mindir", "images", "a.json", "a.json"], {}, "DEVICE_ID: must be a whole number from 0, not 'a.json'"),
        (["n.mindir", "images", "a.json"], {"DEVICE_TARGET": "GPU"}, "DEVICE_TARGET: must be Ascend or CPU, not 'GPU'"),
        (["n.mindir", "images", "a.json", "--device", "GPU"], {}, "--device: must be CPU or Ascend, not 'GPU'"),
        (["n.mindir", "images", "a.json", "--device"], {}, "--device: its value is missing: CPU or Ascend"),
        (
            ["n.mindir", "images", "a.json", "--device=CPU"],
            {"LITE_HOME": None, "MS_LITE_HOME": None},
            "LITE_HOME: no MindSpore Lite in ''; ascend310_infer/README.md says where to get it",
        ),
        (["n.mindir", "images", "a.json"], {"PREDICTOR": "x"}, "PREDICTOR: must be lite or stand_in, not 'x'"),
        (["n.mindir", "images", "a.json"], {}, "no Ascend device on this machine"),
        (["n.mindir", "images"], {}, "run_infer_310.sh takes 3 to 4 arguments, got 2"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: list[str], environment: dict[str, str], message: str) -> None:
    (tmp_path / "images").mkdir()
    for name in ("n.mindir", "a.json"):
        (tmp_path / name).touch()
    done = run_script(SCRIPT, *arguments, cwd=tmp_path, **{"DEVICE_TARGET": None, **environment})
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {message}")


def test_help(tmp_path: Path) -> None:
    done = run_script(SCRIPT, "--help", cwd=tmp_path)
    assert done.returncode == 0
    usage = "usage: bash scripts/nas_fpn/run_infer_310.sh [MINDIR_PATH] [DATA_PATH] [ANNO_PATH] [DEVICE_ID]\n"
    assert usage in done.stdout and "DEVICE_TARGET=CPU" in done.stdout
