"""The library `supervision` reads what is written here, and what it writes is read here."""

from pathlib import Path

import numpy as np
import pytest

from src.data.detection_dataset import DetectionDataset
from src.data.formats.coco import CocoDataset
from src.data.formats.voc import VocDataset
from src.data.formats.yolo import YoloDataset
from src.data.writers.api import ImagePlacer, split_of
from src.data.writers.table import WRITERS
from tests.data.coco_files import NAMES, write_dataset

supervision = pytest.importorskip("supervision", exc_type=ImportError)


@pytest.fixture
def source(tmp_path: Path) -> CocoDataset:
    return CocoDataset(write_dataset(tmp_path / "source", 5), NAMES)


def of_ours(dataset: DetectionDataset) -> dict[str, list]:
    """{image: sorted classes and boxes}."""
    return {
        Path(record.image).name: sorted(
            (dataset.class_names[label], *box) for label, box in zip(record.labels, record.boxes.tolist(), strict=True)
        )
        for record in dataset.records
    }


def of_theirs(dataset) -> dict[str, list]:
    return {
        Path(path).name: sorted(
            (dataset.classes[int(label)], *box) for label, box in zip(found.class_id, found.xyxy.tolist(), strict=True)
        )
        for path, found in dataset.annotations.items()
    }


def assert_same(ours: dict[str, list], theirs: dict[str, list], within: float = 0.01) -> None:
    assert ours.keys() == theirs.keys()
    for name, objects in ours.items():
        assert [one[0] for one in objects] == [one[0] for one in theirs[name]]
        boxes = (np.array([one[1:] for one in some], float).reshape(-1, 4) for some in (objects, theirs[name]))
        np.testing.assert_allclose(*boxes, atol=within)


@pytest.mark.parametrize("target", ["coco", "yolo", "voc"])
def test_it_reads_ours(source: CocoDataset, target: str, tmp_path: Path) -> None:
    WRITERS[target](split_of(source, "train"), tmp_path, ImagePlacer())
    reader = supervision.DetectionDataset
    if target == "coco":
        found = reader.from_coco(str(tmp_path / "train/data"), str(tmp_path / "train/labels.json"))
    elif target == "yolo":
        found = reader.from_yolo(
            str(tmp_path / "images/train"), str(tmp_path / "labels/train"), str(tmp_path / "data.yaml")
        )
    else:
        found = reader.from_pascal_voc(str(tmp_path / "JPEGImages"), str(tmp_path / "Annotations"))
    assert_same(of_ours(source), of_theirs(found))


def test_we_read_its(source: CocoDataset, tmp_path: Path) -> None:
    root = source.annotation_file.parent
    theirs = supervision.DetectionDataset.from_coco(str(root / "data"), str(root / "labels.json"))
    expected = of_ours(source)
    theirs.as_coco(str(tmp_path / "coco/images"), str(tmp_path / "coco/labels.json"))
    assert_same(of_ours(CocoDataset(tmp_path / "coco", NAMES)), expected)
    theirs.as_yolo(str(tmp_path / "y/images"), str(tmp_path / "y/labels"), str(tmp_path / "y/data.yaml"))
    assert_same(of_ours(YoloDataset(tmp_path / "y", NAMES)), expected)
    theirs.as_pascal_voc(str(tmp_path / "voc/JPEGImages"), str(tmp_path / "voc/Annotations"))
    # Of objects with masks it writes the bounds of their pixels, which are whole numbers.
    assert_same(of_ours(VocDataset(tmp_path / "voc", NAMES)), expected, within=1.01)
