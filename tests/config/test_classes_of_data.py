"""Configurations that leave their classes to the training data."""

import shutil
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.config.load import save_config
from src.data.mindrecord.create import create_mindrecord
from tests.conftest import ROOT
from tests.data.coco_files import NAMES, write_dataset
from tests.data.listed_files import voc_object, voc_xml, write_year

BASE = f"base: {ROOT}/configs/demo/refinedet.yaml\n"


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data")
    path = tmp_path / "mine.yaml"
    path.write_text(f"{BASE}coco_classes: []\ntrain_dataset: {tmp_path}/data\nmindrecord_dir: ''\n")
    return path


def test_names_and_number_are_those_of_the_training_data(experiment: Path, tmp_path: Path) -> None:
    config = load_config(experiment)
    assert config.coco_classes == ["background", *NAMES] and config.num_classes == 4 and config.category_ids == []
    save_config(config, tmp_path / "config.yaml")
    shutil.rmtree(tmp_path / "data")
    saved = load_config(tmp_path / "config.yaml")
    assert saved.coco_classes == config.coco_classes and saved.num_classes == 4


def test_voc_names_are_in_alphabetical_order(tmp_path: Path) -> None:
    year = write_year(tmp_path / "VOC2007", {"trainval": ["a", "b"], "test": ["c"]})
    for stem, names in (("a", ("owl", "cat")), ("b", ("bee",)), ("c", ("cow",))):
        text = voc_xml("".join(voc_object(name, (1, 1, 20, 20)) for name in names))
        (year / "Annotations" / f"{stem}.xml").write_text(text)
    path = tmp_path / "mine.yaml"
    path.write_text(f"{BASE}coco_classes: []\ndataset: voc\ntrain_dataset: ''\nval_dataset: ''\nvoc_root: {year}\n")
    assert load_config(path).coco_classes == ["background", "bee", "cat", "owl"]


def test_a_number_alone_follows_the_names() -> None:
    values = {"coco_classes": "[background, a, b]", "num_classes": 3, "category_ids": "[]"}
    assert load_config(ROOT / "configs/demo/refinedet.yaml", values).num_classes == 3


def test_a_file_without_a_base_needs_no_number(tmp_path: Path) -> None:
    path = tmp_path / "alone.yaml"
    path.write_text("detector: refinedet\ncoco_classes: [background, a, b]\n")
    assert load_config(path).num_classes == 3


def test_mindrecord_files_name_them_too(experiment: Path, tmp_path: Path) -> None:
    values = {"mindrecord_dir": str(tmp_path / "packed")}
    create_mindrecord(load_config(experiment, values), training=True)
    config = load_config(experiment, {**values, "train_dataset": ""})
    assert config.coco_classes == ["background", *NAMES]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_dataset": "", "coco_root": ""}, "mine.yaml: coco_classes is empty, .* --train_dataset is missing"),
        ({"train_dataset": "/nowhere"}, "train_dataset /nowhere does not exist"),
        ({"dataset": "other"}, "annotations of dataset 'other' do not name classes; list them"),
        ({"num_classes": "7"}, "num_classes is 7, but coco_classes has 4 names"),
        ({"dataset": "imagenet"}, "dataset is 'imagenet'; known are coco"),
        ({"coco_classes": "[background]"}, r"coco_classes is \['background'\]; it has 'background' and the names"),
    ],
)
def test_what_cannot_be_found_out(experiment: Path, values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(experiment, values)
