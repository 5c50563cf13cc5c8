"""A configuration made of a data set: complete, checked, commented, and followed by commands."""

import re
from pathlib import Path

import pytest
import yaml

from src.commands.new_experiment import new_experiment, starting_config
from src.commands.open_data import data_config
from src.common.errors import UserError
from src.config import load_config
from src.models.table import DETECTORS
from tests.conftest import ROOT
from tests.data.coco_files import NAMES, annotation, write_dataset
from tests.data.drawn_files import write_yolo
from tests.data.listed_files import write_year

OWN = [name for name, spec in DETECTORS.items() if spec.own_data is not None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """mine/: 12 training and 4 evaluation images with up to 13 objects each that are twice as wide as high."""
    monkeypatch.chdir(tmp_path)
    objects = [annotation(20 * n + k, 10 + 3 * n, [5 + 3 * k, 6, 40, 20]) for n in range(12) for k in range(n + 2)]
    write_dataset(tmp_path / "mine/train", 12, 120, 160, objects)
    write_dataset(tmp_path / "mine/validation", 4, 120, 160)
    return tmp_path


def made(model: str, folder: str = "mine", **more) -> Path:
    return new_experiment(model, data_config("auto", folder), folder, **more)


@pytest.mark.parametrize("model", OWN)
def test_every_detector_has_one(folder: Path, model: str, capsys: pytest.CaptureFixture) -> None:
    path = made(model)
    config = load_config(path)
    assert path.name.endswith("_mine.yaml") and config.detector == model
    assert config.coco_classes == ["background", *NAMES] and config.num_classes == 4
    assert config.category_ids == [7, 90, 12] and config.num_gts == 20 and config.batch_size <= 12
    assert (config.train_dataset, config.val_dataset, config.dataset) == ("mine", "mine", "coco")
    assert config.warmup_step <= config.epoch_size * (12 // config.batch_size) / 10
    lines = path.read_text().splitlines()
    assert all("  # " in line or line.startswith(("#", "base: ")) or line.endswith(":") for line in lines)
    commands = capsys.readouterr().out.splitlines()[-3:]
    programs = [re.match(rf"python {ROOT}/(\w+\.py) --config_path {path}", command)[1] for command in commands]
    assert programs == ["train.py", "eval.py", "infer.py"]


def test_anchors_fit_the_objects(folder: Path) -> None:
    changed = yaml.safe_load(made("refinedet").read_text())
    anchors = changed["bbox_head"]["anchor_generator"]
    assert any(ratio < 0.75 for ratio in anchors["ratios"])


def test_data_without_an_evaluation_part_is_divided(folder: Path) -> None:
    write_yolo(folder / "drawn", {f"{n}": "0 0.5 0.5 0.5 0.5\n" for n in range(10)})
    text = (folder / "drawn/data.yaml").read_text()
    (folder / "drawn/data.yaml").write_text(text.replace("val: images/train\n", ""))
    path = made("refinedet", "drawn", output="first.yaml")
    config = load_config(path)
    assert config.dataset == "coco" and config.train_dataset == "first_data/train/labels.json"
    assert config.val_dataset == "first_data/val/labels.json"
    assert len(list((folder / "first_data/val/data").iterdir())) == 2


def test_any_configuration_may_be_the_start(folder: Path) -> None:
    assert starting_config("retinanet_r50_nasfpn_640").parent.name == "nas_fpn"
    own = folder / "start.yaml"
    own.write_text(f"base: {ROOT}/configs/demo/nas_fpn.yaml\nlr: 0.123\n")
    assert load_config(made(str(own))).lr == 0.123


def test_what_does_not_fit_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="--model yolov3: give retinanet, "):
        made("yolov3")
    write_year(folder / "VOC2007", {"train": ["a", "b", "c"], "val": ["d", "e", "f"]})
    with pytest.raises(UserError, match="have no masks"):
        made("mask_rcnn", "VOC2007")
    path = made("refinedet")
    with pytest.raises(UserError, match="exists; give another --output, or --overwrite 1"):
        made("refinedet")
    assert made("refinedet", overwrite=True) == path
