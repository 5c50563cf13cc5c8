"""Evaluation and inference with the keys of the ModelArts sections, on a folder that stands for OBS."""

import json
import shutil
from pathlib import Path

import pytest

from src.config import load_config
from src.data.mindrecord.create import create_mindrecord
from src.models import build_detector
from src.weights.checkpoint import save_weights
from tests.end_to_end.commands import ROOT, TINY_CONFIG, run

MOXING = """
import shutil, types
from pathlib import Path

BUCKET = Path(__file__).parents[1] / "bucket"


def local(url):
    return BUCKET / url.removeprefix("obs://bucket/") if url.startswith("obs://") else url


def copy_parallel(source, target):
    shutil.copytree(local(source), local(target), dirs_exist_ok=True)


file = types.SimpleNamespace(copy_parallel=copy_parallel)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> Path:
    """A container's folder with the package moxing, and a bucket laid out as NAS-FPN's README shows."""
    folder = tmp_path_factory.mktemp("modelarts")
    (folder / "packages").mkdir()
    (folder / "packages/moxing.py").write_text(MOXING)
    (folder / "tiny.yaml").write_text(TINY_CONFIG)
    data = folder / "bucket/MindRecord_COCO"
    keys = {"val_dataset": f"{shapes}/validation", "mindrecord_dir": f"{folder}/MindRecord_COCO"}
    config = load_config(folder / "tiny.yaml", keys)
    create_mindrecord(config, training=False)
    (data / "annotations").mkdir(parents=True)
    shutil.copyfile(shapes / "validation/labels.json", data / "annotations/instances_val2017.json")
    shutil.make_archive(str(data / "MindRecord_COCO"), "zip", folder, "MindRecord_COCO")
    shutil.rmtree(folder / "MindRecord_COCO")
    shutil.make_archive(str(data / "images"), "zip", shapes / "validation/data")
    net = build_detector(config)
    weights = {name: parameter.asnumpy() for name, parameter in net.parameters_dict().items()}
    save_weights(data / "checkpoint/tiny.ckpt", weights)
    return folder


def run_online(program: str, folder: Path, *arguments: str) -> None:
    keys = (
        "--_config_path=tiny.yaml", "--enable_modelarts=True", "--mode=pynative",
        "--data_url=obs://bucket/MindRecord_COCO", "--train_url=obs://bucket/results",
        f"--data_path={folder}/cache/data", f"--output_path={folder}/cache/train",
        f"--checkpoint_path={folder}/cache/data/checkpoint/tiny.ckpt",
    )  # fmt: skip
    run(program, *keys, *arguments, cwd=folder, PYTHONPATH=f"{ROOT}:{folder}/packages")


def test_evaluation(folder: Path, shapes: Path) -> None:
    """The published keys name no archive, and look for the annotations in it."""
    data = f"{folder}/cache/data/MindRecord_COCO"
    instances = f"{data}/annotations/instances_{{}}.json"
    run_online("eval.py", folder, f"--mindrecord_dir={data}", f"--instance_set={instances}")
    metrics = json.loads((folder / "bucket/results/tiny_metrics.json").read_text())
    assert metrics["images"] == 6
    assert not (folder / "cache/data/checkpoint/tiny_metrics.json").exists()


def test_inference(folder: Path) -> None:
    run_online("infer.py", folder, f"--pred_input={folder}/cache/data/images", "--pred_output=found.json")
    found = json.loads((folder / "bucket/results/found.json").read_text())
    assert len(found) == 6
    assert all(Path(path).parent == folder / "cache/data/images" for path in found)
