"""The data set that a configuration names; copies of one data set in three formats are the same data set."""

from pathlib import Path

import numpy as np
import pytest

from src.blocks.detections import Detections
from src.common.errors import UserError
from src.data.formats.coco import CocoDataset
from src.data.raw_dataset import open_raw_dataset, require_location
from src.data.synthetic import write_synthetic_dataset
from src.data.synthetic_scene import SceneOptions
from src.evaluation.coco_evaluator import CocoEvaluator
from src.models.mask_rcnn.config import MaskRCNNConfig
from src.schema import Config
from tests.data.coco_files import IDS, NAMES, write_dataset
from tests.data.listed_files import txt_copy, voc_copy, write_year


def config(**values) -> Config:
    return Config(coco_classes=["background", *NAMES], num_classes=4, **values)


def names_of(dataset) -> list[str]:
    return [Path(record.image).stem for record in dataset.records]


def test_coco_from_the_path_of_each_split(tmp_path):
    write_dataset(tmp_path / "t", 4)
    write_dataset(tmp_path / "v", 2)
    values = config(train_dataset=str(tmp_path / "t"), val_dataset=str(tmp_path / "v"), train_dataset_num=3)
    assert len(open_raw_dataset(values, training=True)) == 3
    assert len(open_raw_dataset(values, training=False)) == 2
    assert open_raw_dataset(values, training=True, with_masks=True).records[1].masks is not None


@pytest.mark.parametrize("prefix", ["instances", "instance"])
def test_coco_root(tmp_path, prefix):
    for name, count in (("train2017", 4), ("val2017", 2), ("val2014", 3)):
        write_dataset(tmp_path, count, labels=f"annotations/{prefix}_{name}.json", images_dir=name)
    values = {"coco_root": str(tmp_path)}
    assert len(open_raw_dataset(config(**values), training=True)) == 4
    dataset = open_raw_dataset(config(**values), training=False)
    assert len(dataset) == 2 and dataset.images_dir == tmp_path / "val2017"
    assert len(open_raw_dataset(config(**values, val_data_type="val2014"), training=False)) == 3
    values["instance_set"] = f"annotations/{prefix}_{{}}.json"
    assert len(open_raw_dataset(config(**values), training=True)) == 4
    values = {"instance_set": str(tmp_path / f"annotations/{prefix}_{{}}.json")}
    assert len(open_raw_dataset(config(**values), training=False)) == 2
    with pytest.raises(UserError, match=r"instance_set: .*_val1999\.json does not exist"):
        open_raw_dataset(config(**values, val_data_type="val1999"), training=False)


def test_a_coco_root_of_another_layout(tmp_path):
    write_dataset(tmp_path / "train", 4)
    assert len(open_raw_dataset(config(coco_root=str(tmp_path)), training=True)) == 4


@pytest.mark.parametrize(("training", "key"), [(True, "train_data_type"), (False, "val_data_type")])
def test_a_data_type_that_does_not_exist_takes_no_other_one(tmp_path, training, key):
    for name in ("train2017", "val2017"):
        write_dataset(tmp_path, 2, labels=f"annotations/instances_{name}.json", images_dir=name)
    with pytest.raises(UserError) as caught:
        open_raw_dataset(config(coco_root=str(tmp_path), **{key: "2071"}), training)
    assert str(caught.value).startswith(f"{key} 2071: coco_root {tmp_path} has none of annotations/instances_2071.json")
    assert str(caught.value).endswith(
        "there are annotations/instances_train2017.json, annotations/instances_val2017.json"
    )


def test_annotations_of_another_name_than_the_default_are_taken_and_said(tmp_path):
    write_dataset(tmp_path, 2, labels="annotations/instances_val2014.json", images_dir="val2014")
    dataset = open_raw_dataset(config(coco_root=str(tmp_path)), training=False)
    assert len(dataset) == 2
    said = "instances_val2014.json: taken, since coco_root has no annotations of val_data_type val2017"
    assert dataset.problems[-1].endswith(said)


@pytest.mark.parametrize("training", [True, False])
def test_a_missing_coco_root_is_called_so(tmp_path, training):
    with pytest.raises(UserError, match="^coco_root .*nowhere does not exist"):
        open_raw_dataset(config(coco_root=str(tmp_path / "nowhere")), training)
    with pytest.raises(UserError, match="^coco_root .*no annotations found"):
        open_raw_dataset(config(coco_root=str(tmp_path)), training)


def test_voc_root(tmp_path):
    write_year(tmp_path / "VOC2007", {"train": ["a"], "val": ["b"], "trainval": ["a", "b"], "test": ["c"]})
    values = {"dataset": "voc", "voc_root": str(tmp_path), "category_ids": IDS}
    assert names_of(open_raw_dataset(config(**values), training=True)) == ["a", "b"]
    dataset = open_raw_dataset(config(**values), training=False)
    assert names_of(dataset) == ["c"] and dataset.category_ids == IDS
    sets = {"voc_train_sets": ["VOC2007/val"], "voc_val_sets": ["train"]}
    assert names_of(open_raw_dataset(config(**values, **sets), training=True)) == ["b"]
    assert names_of(open_raw_dataset(config(**values, **sets), training=False)) == ["a"]
    given = str(tmp_path / "VOC2007/ImageSets/Main/train.txt")
    assert names_of(open_raw_dataset(config(**values, train_dataset=given), training=True)) == ["a"]


@pytest.mark.parametrize("keep_difficult", [False, True])
def test_difficult_objects_are_trained_on_only_when_asked(tmp_path, keep_difficult):
    year = write_year(tmp_path / "VOC2007", {"train": ["a", "b"], "val": ["b"]})
    path = year / "Annotations/b.xml"
    path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
    values = config(dataset="voc", voc_root=str(tmp_path), keep_difficult=keep_difficult)
    assert len(open_raw_dataset(values, training=True).records[1].boxes) == int(keep_difficult)
    assert open_raw_dataset(values, training=False).records[0].difficult.tolist() == [True]


def test_image_dir_and_anno_path(tmp_path):
    dataset = CocoDataset(write_dataset(tmp_path), NAMES)
    path = str(txt_copy(dataset, tmp_path / "list.txt"))
    values = {"dataset": "other", "image_dir": str(dataset.images_dir)}
    assert len(open_raw_dataset(config(**values, anno_path=path), training=True)) == 6
    evaluated = open_raw_dataset(config(**values, anno_path=path), training=False)
    assert "trained on too where val_dataset is empty" in evaluated.problems[-1]
    evaluated = open_raw_dataset(config(**values, anno_path=path, val_dataset=path), training=False)
    assert len(evaluated.problems) == 1 and "no object of owl" in evaluated.problems[0]


@pytest.mark.parametrize(("kind", "root"), [("coco", "coco_root"), ("voc", "voc_root"), ("other", "anno_path")])
def test_no_path(kind, root):
    for training, key in ((True, "train_dataset"), (False, "val_dataset")):
        with pytest.raises(UserError, match=f"--{key} is missing.*and so is {root}: .*dataset is '{kind}'"):
            require_location(config(dataset=kind), training)
        require_location(config(dataset=kind, **{root: "somewhere"}), training)


@pytest.mark.parametrize("kind", ["voc", "other"])
def test_masks_need_coco(kind):
    values = MaskRCNNConfig(
        detector="mask_rcnn",
        dataset=kind,
        train_dataset="somewhere",
        coco_classes=["background", "cat"],
        num_classes=2,
    )
    with pytest.raises(UserError, match="have no masks; mask_rcnn learns from masks: give COCO annotations"):
        open_raw_dataset(values, training=True, with_masks=True)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """One synthetic data set as COCO annotations, VOC folders and a TXT list."""
    root = tmp_path_factory.mktemp("copies")
    scene = SceneOptions(width=96, height=64, classes=3, max_object=60, crowd_share=0.0)
    write_synthetic_dataset(root, train=12, val=1, seed=3, options=scene)
    coco = CocoDataset(root / "train", scene.class_names, "train")
    shared = {
        "coco_classes": ["background", *scene.class_names],
        "num_classes": 4,
        "category_ids": coco.category_ids,
        "image_dir": str(coco.images_dir),
    }
    year, listed = voc_copy(coco, root / "VOC2007", "test"), txt_copy(coco, root / "list.txt")
    return {
        "coco": coco,
        "voc": open_raw_dataset(Config(dataset="voc", voc_root=str(year), **shared), training=False),
        "other": open_raw_dataset(Config(dataset="other", val_dataset=str(listed), **shared), training=False),
    }


@pytest.mark.parametrize("kind", ["voc", "other"])
def test_records_of_the_copies_are_equal(copies, kind):
    assert sum(len(record.boxes) for record in copies["coco"].records) > 12
    for expected, record in zip(copies["coco"].records, copies[kind].records, strict=True):
        assert Path(record.image).name == Path(expected.image).name
        assert (record.height, record.width) == (expected.height, expected.width)
        np.testing.assert_array_equal(record.boxes, expected.boxes)
        np.testing.assert_array_equal(record.labels, expected.labels)


def some_detections(dataset) -> tuple[np.ndarray, Detections]:
    """Each object found with errors, some missed, and others that are not there; the same for each copy."""
    rng = np.random.default_rng(0)
    boxes, scores, labels = np.zeros((12, 40, 4), np.float32), np.zeros((12, 40), np.float32), np.zeros((12, 40), int)
    for n, record in enumerate(dataset.records):
        near = np.tile(record.boxes, (4, 1))[:40]
        moved = near + rng.normal(0, 0.1, near.shape).astype(np.float32) * (near[:, 2:] - near[:, :2])[:, [0, 1, 0, 1]]
        boxes[n, : len(near)] = moved
        wrong = rng.random(len(near)) < 0.2
        labels[n, : len(near)] = np.where(wrong, rng.integers(0, 3, len(near)), np.tile(record.labels, 4)[:40])
        scores[n, : len(near)] = rng.random(len(near))
    return np.array([r.image_id for r in dataset.records]), Detections(boxes, scores, labels, scores > 0, None)


def test_evaluation_of_the_copies_is_equal(copies):
    metrics = {}
    for kind, dataset in copies.items():
        evaluator = CocoEvaluator.for_dataset(dataset)
        evaluator.add(*some_detections(dataset))
        metrics[kind] = evaluator.compute_metrics()
    expected = dict(metrics["coco"].stats)
    assert 0.1 < expected["bbox_mAP"] < 0.9
    # Areas are those of the boxes; this COCO data set gives those of the masks.
    by_size = {f"bbox_{name}" for name in ("mAP_s", "mAP_m", "mAP_l", "AR_s", "AR_m", "AR_l")}
    expected = {name: value for name, value in expected.items() if name not in by_size}
    for kind in ("voc", "other"):
        assert {name: metrics[kind].stats[name] for name in expected} == pytest.approx(expected, abs=1e-12)
        assert metrics[kind].per_class == pytest.approx(metrics["coco"].per_class, abs=1e-12)
    assert {"VOC07_mAP", "VOC_mAP"} <= metrics["voc"].stats.keys()
    assert not {"VOC07_mAP", "VOC_mAP"} & (metrics["other"].stats.keys() | metrics["coco"].stats.keys())
    assert metrics["voc"].stats["VOC_mAP"] == pytest.approx(metrics["coco"].stats["bbox_mAP_50"], abs=0.1)


def test_an_evaluator_can_be_emptied_and_used_again(copies):
    evaluator = CocoEvaluator.for_dataset(copies["voc"])
    found = some_detections(copies["voc"])
    evaluator.add(*found)
    first = evaluator.compute_metrics()
    evaluator.reset()
    assert evaluator.image_ids == [] and evaluator.results() == []
    assert evaluator.compute_metrics().stats["bbox_mAP"] == 0
    evaluator.reset()
    evaluator.add(*found)
    assert evaluator.compute_metrics().stats == first.stats
