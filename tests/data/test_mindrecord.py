"""Data sets from MindRecord files give what their sources give: records, batches, ground truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.common.errors import UserError
from src.data.builders import build_eval_loader, build_train_loader
from src.data.formats.coco import CocoDataset
from src.data.masks import decode_mask
from src.data.mindrecord.create import create_mindrecord
from src.data.open_dataset import check_or_pack_dataset, open_dataset
from src.data.stored_image import StoredImage
from src.evaluation.coco_evaluator import CocoEvaluator
from src.models.retinanet.config import RetinaNetConfig
from tests.data.coco_files import NAMES, write_dataset
from tests.data.listed_files import txt_copy, voc_copy, voc_object, voc_xml
from tests.data.test_loader import assert_same, epoch
from tests.data.test_loader import make_config as boxes_config
from tests.data.test_mask_loader import SHAPES, make_config, shapes  # noqa: F401  a fixture


@pytest.fixture(scope="module")
def packed(shapes, tmp_path_factory):  # noqa: F811
    """Folder with the data set `shapes` in three files, as training and as evaluation data."""
    folder = tmp_path_factory.mktemp("packed")
    config = make_config(shapes, mindrecord_dir=str(folder), num_parallel_workers=2)
    create_mindrecord(config, training=True, shards=3)
    create_mindrecord(config, training=False)
    assert len([path for path in folder.iterdir() if path.suffix == ".db"]) == 4
    return folder


def both(shapes, packed, **keys):  # noqa: F811
    """Configurations of the images, and of the MindRecord files alone."""
    stored = make_config(shapes, mindrecord_dir=str(packed), **keys)
    return make_config(shapes, **keys), stored.model_copy(update={"train_dataset": "", "val_dataset": ""})


@pytest.mark.parametrize("with_masks", [False, True])
def test_the_records_are_those_of_the_source(shapes, packed, with_masks):  # noqa: F811
    raw, stored = (open_dataset(config, True, with_masks) for config in both(shapes, packed))
    assert stored.class_names == raw.class_names and stored.category_ids == raw.category_ids
    assert stored.missing_images == [] and stored.problems == raw.problems
    assert len(stored) == len(raw) == 12
    for a, b in zip(raw.records, stored.records, strict=True):
        assert (a.name, a.image_id, a.height, a.width) == (b.name, b.image_id, b.height, b.width)
        assert a.masks == b.masks and (a.masks is None) != with_masks
        for key in ("boxes", "labels", "crowd"):
            first, second = getattr(a, key), getattr(b, key)
            assert first.dtype == second.dtype and np.array_equal(first, second)
        assert isinstance(b.image, StoredImage)
        assert b.image.read().tobytes() == Path(a.image).read_bytes()


WORKERS = [(0, False), (2, False), (2, True)]


@pytest.mark.parametrize(("workers", "processes"), WORKERS, ids=["none", "threads", "processes"])
def test_training_batches_are_the_same_bit_for_bit(shapes, packed, workers, processes):  # noqa: F811
    keys = {"num_parallel_workers": workers, "python_multiprocessing": processes}
    raw, stored = both(shapes, packed)
    expected = epoch(raw, 3)
    assert "masks" in expected[0] and len(expected) == 4
    assert_same(expected, epoch(stored.model_copy(update=keys), 3))


def test_boxes_without_masks_ranks_and_resuming(shapes, packed):  # noqa: F811
    raw, stored = both(shapes, packed, model=RetinaNetConfig)
    assert_same(epoch(raw, 1), epoch(stored, 1))
    assert_same(epoch(raw, 1, rank=1, world=2), epoch(stored, 1, rank=1, world=2))
    assert_same(epoch(raw, 1, start_step=2), epoch(stored, 1, start_step=2))


def test_evaluation_batches_are_the_same(shapes, packed):  # noqa: F811
    raw, stored = both(shapes, packed)
    assert_same(epoch(raw, build=build_eval_loader), epoch(stored, build=build_eval_loader))


def test_subsets_are_taken_when_the_data_is_used(shapes, packed):  # noqa: F811
    raw, stored = both(shapes, packed, train_dataset_num=9, train_dataset_divider=2, batch_size=2)
    assert len(build_train_loader(raw).records) == 5
    assert_same(epoch(raw), epoch(stored))


def test_classes_in_another_order(shapes, packed):  # noqa: F811
    raw, stored = both(shapes, packed, names=SHAPES[::-1])
    assert_same(epoch(raw), epoch(stored))


def test_an_empty_folder_is_filled_from_the_source(shapes, tmp_path, capsys):  # noqa: F811
    raw = make_config(shapes)
    config = make_config(shapes, mindrecord_dir=str(tmp_path / "packed"))
    check_or_pack_dataset(config, training=True)
    assert "train.mindrecord.json does not exist: making train.mindrecord from" in capsys.readouterr().out
    check_or_pack_dataset(config.model_copy(update={"train_dataset": ""}), training=True)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "packed/eval.mindrecord.json").exists()
    check_or_pack_dataset(config, training=False)
    assert_same(epoch(raw), epoch(config))
    assert_same(epoch(raw, build=build_eval_loader), epoch(config, build=build_eval_loader))


def test_a_source_that_is_not_there(shapes, tmp_path):  # noqa: F811
    config = make_config(shapes, mindrecord_dir=str(tmp_path / "packed"))
    for path, reason in (("", "--train_dataset is missing"), (str(tmp_path / "nowhere"), "nowhere does not exist")):
        with pytest.raises(UserError, match=f"no complete data set train.mindrecord .* none can be made: .*{reason}"):
            check_or_pack_dataset(config.model_copy(update={"train_dataset": path}), training=True)
    assert not list((tmp_path / "packed").glob("train.mindrecord*"))


@pytest.fixture
def named(tmp_path):
    """A configuration of MindRecord files that names the annotations they were made from, and these annotations."""
    write_dataset(tmp_path, 4, labels="annotations/instances_val2017.json", images_dir="val2017")
    files = {"mindrecord_dir": str(tmp_path / "packed"), "val_dataset": ""}
    pattern = tmp_path / "annotations/instances_{}.json"
    config = boxes_config(tmp_path, instance_set=str(pattern), **files)
    create_mindrecord(config, training=False)
    return config, tmp_path / "annotations/instances_val2017.json"


def test_annotations_named_beside_mindrecord_files_must_be_theirs(named):
    config, path = named
    assert len(open_dataset(config, training=False)) == 4
    content = json.loads(path.read_text())
    content["annotations"][-1]["bbox"][2] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"instances_val2017\.json: 1 images differ, the first: image_id 16, unlike"):
        open_dataset(config, training=False)
    content["images"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="3 images instead of 4, and not image_id 19"):
        open_dataset(config, training=False)
    content["categories"][0]["id"] += 100
    path.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(UserError, match="its categories are {107: 'cat'"):
        open_dataset(config, training=False)


def test_annotations_named_beside_mindrecord_files_must_exist(named):
    config, path = named
    path.unlink()
    for function in (check_or_pack_dataset, open_dataset):
        with pytest.raises(UserError, match=r"instance_set: .*instances_val2017\.json does not exist"):
            function(config, training=False)
    relative = config.model_copy(update={"coco_root": "nowhere", "instance_set": "annotations/instances_{}.json"})
    assert len(open_dataset(relative, training=False)) == 4  # the data set itself need not be on this machine


def test_one_split_from_images(shapes, packed):  # noqa: F811
    config = make_config(shapes, mindrecord_dir=str(packed), eval_prefix="")
    assert isinstance(build_train_loader(config).records[0].image, StoredImage)
    assert isinstance(build_eval_loader(config).records[0].image, str)


def noisy_results(labels: Path) -> list[dict]:
    """Detections near the true objects, many with the same score, some missing, some of another class."""
    content = json.loads(labels.read_text())
    rng = np.random.default_rng(0)
    results = []
    for one in content["annotations"]:
        if rng.random() < 0.2:
            continue
        bitmap = decode_mask(one["segmentation"], 64, 80).bitmap(64, 80)
        mask = coco_mask.encode(np.asfortranarray(bitmap))
        results.append(
            {
                "image_id": one["image_id"],
                "category_id": one["category_id"] if rng.random() < 0.9 else 1,
                "bbox": (np.array(one["bbox"]) + rng.normal(0, 2, 4)).clip(0.5).tolist(),
                "score": float(rng.choice([0.3, 0.6, 0.9])),
                "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()},
            }
        )
    return results


def test_average_precision_is_the_same(shapes, packed):  # noqa: F811
    metrics = []
    for config in both(shapes, packed):
        evaluator = CocoEvaluator.for_dataset(open_dataset(config, training=False), ("bbox", "segm"))
        evaluator.add_results(noisy_results(shapes / "labels.json"))
        metrics.append(evaluator.compute_metrics())
    raw, stored = metrics
    assert 0.1 < raw.stats["bbox_mAP"] < 0.9 and 0.1 < raw.stats["segm_mAP"] <= 1
    assert stored == raw


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """{kind: keys of its data}: a VOC folder with a difficult object, a TXT list, of 12 images with objects."""
    folder = tmp_path_factory.mktemp("listed")
    dataset = CocoDataset(write_dataset(folder / "coco", 12), NAMES)
    year = voc_copy(dataset, folder / "VOC2007", "trainval")
    path = year / "Annotations" / "004.xml"
    objects = voc_object("owl", (2.5, 3.25, 30.1, 20.7), difficult=1) + voc_object("cat", (5, 3, 20, 20))
    path.write_text(voc_xml(objects))
    (year / "ImageSets" / "Main" / "test.txt").write_text("".join(f"{n:03d}\n" for n in range(12)))
    anno_path = txt_copy(dataset, folder / "list.txt")
    return {
        "voc": {"voc_root": str(year)},
        "other": {"anno_path": str(anno_path), "image_dir": str(folder / "coco" / "data")},
    }


@pytest.mark.parametrize("kind", ["voc", "other"])
def test_every_reader(listed, kind, tmp_path):
    keys = {"train_dataset": "", "val_dataset": ""}
    raw = boxes_config("", dataset=kind, **listed[kind], **keys)
    stored = boxes_config("", mindrecord_dir=str(tmp_path), **keys)
    creation = boxes_config("", mindrecord_dir=str(tmp_path), **listed[kind], **keys)
    for training in (True, False):
        create_mindrecord(creation, kind, training=training)
    assert_same(epoch(raw, 2), epoch(stored, 2))
    assert_same(epoch(raw, build=build_eval_loader), epoch(stored, build=build_eval_loader))
    if kind == "voc":
        more = {"keep_difficult": True}
        assert sum(b["valid"].sum() for b in epoch(raw)) < sum(
            b["valid"].sum() for b in epoch(raw.model_copy(update=more))
        )
        assert_same(epoch(raw.model_copy(update=more)), epoch(stored.model_copy(update=more)))
    metrics = []
    for config in (raw, stored):
        dataset = open_dataset(config, training=False)
        evaluator = CocoEvaluator.for_dataset(dataset)
        truth = dataset.coco_annotations()["annotations"]
        found = [{k: one[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.5} for one in truth[::2]]
        evaluator.add_results(found)
        metrics.append(evaluator.compute_metrics())
    assert metrics[0] == metrics[1] and bool(metrics[1].voc_table) == (kind == "voc")
    with pytest.raises(UserError, match="has no masks"):
        open_dataset(make_config("", names=NAMES, mindrecord_dir=str(tmp_path)), training=True, with_masks=True)


def test_broken_and_missing_images_are_left_out_and_counted(tmp_path, capsys):
    root = write_dataset(tmp_path / "data", 7)
    broken, missing, resized = (root / "data" / f"{n:03d}.png" for n in (2, 4, 5))
    broken.write_bytes(broken.read_bytes()[:50])
    missing.unlink()
    content = json.loads((root / "labels.json").read_text())
    content["images"][5]["width"] = 61
    (root / "labels.json").write_text(json.dumps(content))
    raw = boxes_config(root, skip_broken=True, mindrecord_dir=str(tmp_path / "packed"))
    for training in (True, False):
        create_mindrecord(raw, training=training)
        out = capsys.readouterr().out
        for path, reason in ((broken, "broken"), (missing, "missing"), (resized, "60x40 pixels")):
            assert any(str(path) in line and reason in line and "left out" in line for line in out.splitlines())
        assert "4 images (3 left out), 1 objects of 3 classes" in out
    assert len(build_train_loader(raw).records) == 4
    problems = build_eval_loader(raw).dataset.problems
    assert [str(path) in line for path, line in zip((broken, missing, resized), problems, strict=True)] == [True] * 3
    # Evaluation counts the objects of images that cannot be read, from MindRecord files too.
    metrics = []
    for config in (raw.model_copy(update={"mindrecord_dir": ""}), raw):
        evaluator = CocoEvaluator.for_dataset(open_dataset(config, training=False))
        evaluator.add_results([{"image_id": 13, "category_id": 7, "bbox": [5, 7, 20, 12], "score": 0.9}])
        metrics.append(evaluator.compute_metrics())
    assert metrics[0] == metrics[1] and 0 < metrics[0].stats["bbox_mAP"] < 1 and metrics[1].num_images == 7
    # A subset counts the images of the source: the first five of them hold three that can be read.
    first = raw.model_copy(update={"train_dataset_num": 5})
    assert [record.image_id for record in build_train_loader(first).records] == [10, 13, 19]


def test_not_one_image(tmp_path):
    root = write_dataset(tmp_path / "data", 2)
    for path in (root / "data").iterdir():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"not one of its images can be read, the first: .*000\.png: the file is empty"):
        create_mindrecord(boxes_config(root, mindrecord_dir=str(tmp_path / "packed")))
    assert list((tmp_path / "packed").iterdir()) == []
