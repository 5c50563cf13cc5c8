"""A new detector is one folder and one line in the table; a new backbone one file and one line."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.weights import load_checkpoint_weights
from tests.conftest import ROOT
from tests.end_to_end.commands import environment, logged

TOYS = Path(__file__).parent / "toys"
# What a newcomer would write into src/models/table.py and src/models/backbones/table.py.
WITH_TOYS = """
import runpy, sys
from centre.spec import SPEC
from strided import STRIDED
from src.models.backbones.table import BACKBONES
from src.models.table import DETECTORS
DETECTORS["centre"] = SPEC
BACKBONES["strided"] = STRIDED
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
EXPERIMENT = f"""
base: {ROOT}/configs/_base_/coco_detection.yaml
detector: centre
coco_classes: [background, circle, square, triangle, star]
num_classes: 5
category_ids: []
img_width: 128
img_height: 128
batch_size: 4
test_batch_size: 3
lr: 0.002
opt_type: adamw
warmup_step: 1
grad_clip: 10
epoch_size: 1
train_dataset_num: 20
log_every: 1
device_target: CPU
num_parallel_workers: 0
"""


@pytest.fixture
def toys(tmp_path: Path, shapes: Path) -> Path:
    """A folder outside the project with the toys and an experiment with the toy detector, toy.yaml."""
    shutil.copytree(TOYS, tmp_path / "packages")
    (tmp_path / "packages/with_toys.py").write_text(WITH_TOYS)
    write_experiment(tmp_path, shapes, EXPERIMENT)
    return tmp_path


def write_experiment(folder: Path, shapes: Path, text: str) -> None:
    data = f"train_dataset: {shapes}/train\nval_dataset: {shapes}/validation\ntrain_outputs: {folder}/out\n"
    (folder / "toy.yaml").write_text(text + data)


def run(folder: Path, program: str, *arguments: object, expect: int = 0) -> str:
    """Run a program of the project with the toys in its tables; returns what it printed."""
    command = [sys.executable, str(folder / "packages/with_toys.py"), str(ROOT / program)]
    command += ["--config_path", "toy.yaml", *map(str, arguments)]
    paths = {"PYTHONPATH": f"{folder / 'packages'}:{ROOT}"}
    done = subprocess.run(
        command, cwd=folder, env=environment() | paths, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == expect, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def statistics_of(folder: Path, name: str) -> dict[str, float]:
    return json.loads((folder / name).read_text())["stats"]


@pytest.mark.end_to_end
def test_a_detector_trains_evaluates_exports_and_converts(toys: Path) -> None:
    run(toys, "train.py")
    losses = logged(toys / "out/run")
    assert sorted(losses) == [1, 2, 3, 4, 5] and np.isfinite(list(losses.values())).all()

    shutil.copy(toys / "out/run/checkpoints/last.ckpt", toys / "trained.ckpt")
    assert "Bbox eval result" in run(toys, "eval.py", "--checkpoint_path", "trained.ckpt")
    run(toys, "export.py", "--checkpoint_path", "trained.ckpt", "--file_format", "ONNX", "--file_name", "exported")
    run(toys, "eval.py", "--checkpoint_path", "exported.onnx")
    trained, exported = statistics_of(toys, "trained_metrics.json"), statistics_of(toys, "exported_metrics.json")
    assert exported == pytest.approx(trained, abs=1e-6)

    arrays = load_checkpoint_weights(toys / "trained.ckpt")
    np.savez(toys / "theirs.npz", **_under_their_names(arrays))
    run(toys, "convert_weights.py", "--source_file", "theirs.npz", "--output_file", "converted.ckpt")
    converted = load_checkpoint_weights(toys / "converted.ckpt")
    assert sorted(converted) == sorted(arrays)
    assert all(np.array_equal(converted[name], arrays[name]) for name in arrays)

    said = run(toys, "train.py", "--help")
    assert "--bbox_head.channels: channels of each convolution of the toy (default: 16)" in said
    assert "which detector: retinanet, mask_rcnn, cascade_mask_rcnn, refinedet, centre" in said


def _under_their_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The toy's published names, with PyTorch's for batch normalizations."""
    ends = {"moving_mean": "running_mean", "moving_variance": "running_var", "gamma": "weight", "beta": "bias"}
    heads = {"cls_conv": "classes", "box_conv": "boxes"}
    renamed = {}
    for name, array in arrays.items():
        module, _, end = name.rpartition(".")
        renamed[f"{heads.get(module, module)}.{ends.get(end, end)}"] = array
    return renamed


NAS_FPN = f"""
base: {ROOT}/configs/demo/nas_fpn.yaml
backbone: {{type: strided}}
neck: {{nas_fpn: {{in_channels: [16, 16, 16], out_channels: 16, stack_times: 1}}}}
bbox_head: {{in_channels: 16, feat_channels: 16, stacked_convs: 1}}
"""
REFINEDET = f"""
base: {ROOT}/configs/demo/refinedet.yaml
backbone: {{type: strided}}
neck: {{out_channels: 16}}
"""
QUICK = "brief: run\nbatch_size: 4\nlog_every: 1\nepoch_size: 1\ntrain_dataset_num: 20\nrun_eval: 0\n"


@pytest.mark.end_to_end
@pytest.mark.parametrize("text", [NAS_FPN, REFINEDET], ids=["nas_fpn", "refinedet"])
def test_a_backbone_serves_detectors(toys: Path, shapes: Path, text: str) -> None:
    write_experiment(toys, shapes, text + QUICK)
    run(toys, "train.py")
    losses = logged(toys / "out/run")
    assert len(losses) == 5 and np.isfinite(list(losses.values())).all()
    assert "backbone.width: channels of each map of the toy backbone" in run(toys, "train.py", "--help")


def test_a_backbone_that_does_not_fit_is_refused(toys: Path, shapes: Path) -> None:
    write_experiment(toys, shapes, NAS_FPN.replace("[16, 16, 16]", "[64, 128, 256]"))
    said = run(toys, "train.py", expect=2)
    assert "neck.nas_fpn.in_channels is [64, 128, 256], but the backbone gives [16, 16, 16]" in said
    write_experiment(toys, shapes, NAS_FPN.replace("{type: strided}", "{type: strided, depth: 18}"))
    assert "unknown key 'backbone.depth'" in run(toys, "train.py", expect=2)
