"""The library `supervision` reads what is written here, and what it writes is read here."""

import re
from pathlib import Path

import numpy as np
import pytest

from src.data.detection_dataset import DetectionDataset
from src.data.formats.coco import CocoDataset
from src.data.formats.voc import VocDataset
from src.data.formats.yolo import YoloDataset
from src.data.writers.api import ImagePlacer, split_of
from src.data.writers.table import WRITERS
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.predictions import save_results
from tests.conftest import ROOT
from tests.data.coco_files import IDS, NAMES, write_dataset

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


def test_predictions_are_read_by_the_lines_on_the_page(source: CocoDataset, tmp_path: Path, monkeypatch) -> None:
    """The boxes are the same, and so is AP, as that library computes it."""
    rng = np.random.default_rng(0)
    evaluator = CocoEvaluator.for_dataset(source)
    evaluator.add_results([
        {"image_id": one["image_id"], "category_id": one["category_id"], "score": float(rng.uniform(0.1, 1)),
         "bbox": (np.array(one["bbox"]) + rng.uniform(0, 2, 4)).tolist()}
        for one in source.coco_annotations()["annotations"] for _ in range(2)
    ])  # fmt: skip
    save_results(tmp_path / "predictions.json", evaluator.results())
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(import json\n.*?)```", (ROOT / "docs/training.md").read_text(), re.S)
    values: dict = {}
    exec(compile(block, "docs/training.md", "exec"), values)
    found = values["detections"]
    metric = supervision.metrics.MeanAveragePrecision()
    for record in source.records:
        classes = np.array(IDS)[record.labels]
        truth = supervision.Detections(xyxy=record.boxes.reshape(-1, 4), class_id=classes)
        of_image = found.get(record.image_id, supervision.Detections.empty())
        assert len(of_image) == 2 * len(record.boxes)
        metric.update([of_image], [truth])
    metrics = evaluator.compute_metrics()
    assert 0.2 < metrics.stats["bbox_mAP"] < 0.9
    result = metric.compute()
    ours = [metrics.stats[name] for name in ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75")]
    np.testing.assert_allclose([result.map50_95, result.map50, result.map75], ours, atol=1e-6)
