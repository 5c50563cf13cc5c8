"""The COCO reader: where it looks, what it keeps, skips and refuses."""

import json
import re

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.formats.coco import CocoDataset
from src.data.formats.coco_files import find_annotation_file
from tests.data.coco_files import IDS, NAMES, annotation, content, write_dataset


def edit(root, change):
    """Apply `change` to the content of root/labels.json."""
    values = json.loads((root / "labels.json").read_text())
    change(values)
    (root / "labels.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("labels", "images_dir", "given", "split"),
    [
        ("train/labels.json", "train/data", "train", "train"),
        ("validation/labels.json", "validation/data", "validation", "val"),
        ("train/labels.json", "train/data", "", "train"),
        ("validation/labels.json", "validation/data", "", "val"),
        ("annotations/instances_train2017.json", "train2017", "train2017", "train"),
        ("annotations/instances_val2017.json", "val2017", "val2017", "val"),
        ("annotations/instances_train2017.json", "train2017", "", "train"),
        ("annotations/instance_train2017.json", "train2017", "train2017", "train"),
        ("annotations/instance_val2017.json", "val2017", "", "val"),
        ("annotations/instances_val.json", "images", "", "val"),
        ("annotations/instances_val.json", "images", "annotations/instances_val.json", "val"),
        ("annotations/instances_val.json", "images/val", "annotations/instances_val.json", "val"),
        ("boxes.json", "images", "boxes.json", "train"),
        ("labels.json", "data", "labels.json", "train"),
    ],
)
def test_layouts(tmp_path, labels, images_dir, given, split):
    write_dataset(tmp_path, labels=labels, images_dir=images_dir)
    dataset = CocoDataset(tmp_path / given, NAMES, split)
    assert dataset.annotation_file == tmp_path / labels
    assert dataset.images_dir == tmp_path / images_dir
    assert len(dataset) == 6 and not dataset.problems


def test_root_folder_gives_the_split_that_was_asked_for(tmp_path):
    write_dataset(tmp_path, 4, labels="annotations/instances_train2017.json", images_dir="train2017")
    write_dataset(tmp_path, 2, labels="annotations/instances_val2017.json", images_dir="val2017")
    assert len(CocoDataset(tmp_path, NAMES, "train")) == 4
    assert len(CocoDataset(tmp_path, NAMES, "val")) == 2


def test_relative_paths(tmp_path, monkeypatch):
    write_dataset(tmp_path, labels="annotations/instances_train2017.json", images_dir="train2017")
    monkeypatch.chdir(tmp_path / "train2017")
    assert len(CocoDataset(".", NAMES, "train")) == 6
    monkeypatch.chdir(tmp_path)
    assert len(CocoDataset("train2017", NAMES, "train")) == 6


def test_what_was_looked_for_is_said(tmp_path):
    with pytest.raises(UserError, match="train_dataset .*nowhere does not exist"):
        find_annotation_file(tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=r"labels\.json.*instances_.*json.*instances_val\*\.json.*validation"):
        find_annotation_file(tmp_path, "val")


def test_two_annotation_files_for_one_split(tmp_path):
    for year in (2014, 2017):
        write_dataset(tmp_path, labels=f"annotations/instances_train{year}.json", images_dir="images")
    with pytest.raises(UserError, match="more than one annotation file"):
        CocoDataset(tmp_path, NAMES, "train")


def test_images_in_no_folder(tmp_path):
    write_dataset(tmp_path, images_dir="elsewhere")
    with pytest.raises(UserError, match=r"000\.png\) are in none of the folders .*data.*images"):
        CocoDataset(tmp_path, NAMES)


def test_records(tmp_path):
    record = CocoDataset(write_dataset(tmp_path), NAMES, with_masks=True).records[5]
    assert record.image == str(tmp_path / "data" / "005.png") and record.image_id == 25
    assert (record.height, record.width) == (40, 60)
    assert record.boxes.dtype == np.float32 and record.labels.dtype == np.int32 and record.crowd.dtype == bool
    assert record.boxes.tolist() == [[5, 11, 25, 23], [9, 11, 29, 24]]
    assert record.labels.tolist() == [0, 1] and not record.crowd.any()
    assert record.masks[0] == [[5, 11, 25, 11, 25, 23, 5, 23]]


def test_masks_are_kept_only_when_asked_for(tmp_path):
    assert CocoDataset(write_dataset(tmp_path), NAMES).records[5].masks is None


def test_images_without_objects_are_kept(tmp_path):
    record = CocoDataset(write_dataset(tmp_path), NAMES).records[0]
    assert record.boxes.shape == (0, 4) and record.labels.shape == (0,) and record.crowd.shape == (0,)


def test_categories_are_mapped_by_name_not_by_order(tmp_path):
    dataset = CocoDataset(write_dataset(tmp_path), ["owl", "cat", "dog"])
    assert dataset.category_ids == [IDS[2], IDS[0], IDS[1]]
    assert dataset.records[5].labels.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["cat", "dog"], r"only in the annotations \['owl'\]"),
        (["cat", "dog", "owl", "cow"], r"only in coco_classes \['cow'\]"),
        (["cat", "dog", "Owl"], r"only in coco_classes \['Owl'\], only in the annotations \['owl'\]"),
    ],
)
def test_categories_that_differ_print_both_lists(tmp_path, names, expected):
    with pytest.raises(UserError, match=expected) as error:
        CocoDataset(write_dataset(tmp_path), names)
    assert str(names) in str(error.value) and str(NAMES) in str(error.value)
    assert "num_classes to 4" in str(error.value)


def test_category_named_twice(tmp_path):
    edit(write_dataset(tmp_path), lambda c: c["categories"].append({"id": 1, "name": "cat"}))
    with pytest.raises(UserError, match=r"more than once \['cat'\]"):
        CocoDataset(tmp_path, NAMES)


def test_crowds_are_kept_and_marked(tmp_path):
    rle = {"size": [40, 60], "counts": [0, 2400]}
    crowd = annotation(1, 10, [0, 0, 60, 40], iscrowd=1, segmentation=rle)
    write_dataset(tmp_path, annotations=[crowd, annotation(2, 10, [1, 2, 3, 4])])
    record = CocoDataset(tmp_path, NAMES, with_masks=True).records[0]
    assert record.crowd.tolist() == [True, False]
    assert record.masks[0] == rle


@pytest.mark.parametrize(
    "box",
    [[5, 5, 0, 10], [5, 5, 10, 0], [5, 5, -3, 9], [60, 5, 9, 9], [-20, 0, 20, 9], [5, 5, float("nan"), 3], [1], []],
)
def test_degenerate_boxes_are_skipped_and_named(tmp_path, box):
    write_dataset(tmp_path, annotations=[annotation(1, 10, box), annotation(2, 10, [1, 2, 3, 4])])
    dataset = CocoDataset(tmp_path, NAMES)
    assert dataset.records[0].boxes.tolist() == [[1, 2, 4, 6]]
    assert len(dataset.problems) == 1
    assert "000.png" in dataset.problems[0] and "annotation 1 " in dataset.problems[0]


def test_annotation_without_a_box_is_skipped_and_named(tmp_path):
    write_dataset(tmp_path, annotations=[{"id": 4, "image_id": 10, "category_id": IDS[0]}])
    dataset = CocoDataset(tmp_path, NAMES)
    assert len(dataset.records[0].boxes) == 0 and "annotation 4 " in dataset.problems[0]


def test_boxes_are_clipped_to_the_image(tmp_path):
    write_dataset(tmp_path, annotations=[annotation(1, 10, [-5, 30, 70, 20])])
    assert CocoDataset(tmp_path, NAMES).records[0].boxes.tolist() == [[0, 30, 60, 40]]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "it has no segmentation"),
        ([], "it has no segmentation"),
        ([[1, 2, 3, 4]], "fewer than three points"),
        ({"size": [60, 40], "counts": [2400]}, r"RLE has size \[60, 40\]"),
    ],
)
def test_objects_without_a_usable_segmentation(tmp_path, segmentation, message):
    """Left out and named where masks are read; only one of many, that is: see the next test."""
    faulty = annotation(1, 10, [1, 2, 3, 4], segmentation=segmentation)
    write_dataset(tmp_path, annotations=[faulty, annotation(2, 10, [5, 6, 7, 8], IDS[1])])
    dataset = CocoDataset(tmp_path, NAMES, with_masks=True)
    assert dataset.records[0].labels.tolist() == [1] and len(dataset.records[0].masks) == 1
    (problem,) = dataset.problems
    assert re.search(r"000\.png: annotation 1 is left out: .*" + message, problem)
    assert CocoDataset(tmp_path, NAMES).records[0].labels.tolist() == [0, 1]


def test_masks_of_a_data_set_that_has_none(tmp_path):
    boxes_only = [annotation(n, 10, [1, 2, 3, 4], segmentation=None) for n in range(3)]
    write_dataset(tmp_path, annotations=boxes_only)
    with pytest.raises(
        UserError, match=r"labels\.json: no object has a mask \(3 annotations.*no segmentation.*add them"
    ):
        CocoDataset(tmp_path, NAMES, with_masks=True)
    write_dataset(tmp_path, annotations=[])
    assert len(CocoDataset(tmp_path, NAMES, with_masks=True)) == 6


def test_missing_images_are_listed_and_left_out(tmp_path):
    write_dataset(tmp_path)
    (tmp_path / "data" / "002.png").unlink()
    dataset = CocoDataset(tmp_path, NAMES)
    assert [record.image_id for record in dataset.records] == [10, 13, 19, 22, 25]
    assert dataset.missing_images == [str(tmp_path / "data" / "002.png")]
    assert str(tmp_path / "data" / "002.png") in dataset.problems[0]


def test_names_that_are_not_numbers_and_subfolders(tmp_path):
    write_dataset(tmp_path, file_name="IMG_été-{}.png")
    (tmp_path / "data" / "sub").mkdir()
    (tmp_path / "data" / "IMG_été-1.png").rename(tmp_path / "data" / "sub" / "b c.png")
    edit(tmp_path, lambda c: c["images"][1].update(file_name="sub/b c.png"))
    dataset = CocoDataset(tmp_path, NAMES)
    assert len(dataset) == 6 and dataset.records[1].image.endswith("sub/b c.png")


def test_file_order_is_kept_and_first_and_every_choose(tmp_path):
    write_dataset(tmp_path, 7)
    ids = [10 + 3 * n for n in range(7)]
    assert [r.image_id for r in CocoDataset(tmp_path, NAMES).records] == ids
    assert [r.image_id for r in CocoDataset(tmp_path, NAMES, first=3).records] == ids[:3]
    assert [r.image_id for r in CocoDataset(tmp_path, NAMES, every=3).records] == ids[::3]
    assert [r.image_id for r in CocoDataset(tmp_path, NAMES, first=5, every=2).records] == ids[:5:2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][1].update(id=10), "image id 10 is used more than once"),
        (lambda c: c["annotations"][1].update(id=100), "annotation id 100 is used more than once"),
        (lambda c: c["images"][1].update(id="7"), r"images\[1\]: id is '7', not a whole number of 64 bits"),
        (lambda c: c["images"][1].pop("width"), r"images\[1\] has no width"),
        (lambda c: c["images"][1].update(height=0), r"images\[1\]: height is 0, not a positive"),
        (lambda c: c["annotations"][0].update(category_id=3), "annotation 100 has category_id 3"),
        (lambda c: c.update(images=[]), "names no images"),
        (lambda c: c.pop("annotations"), "no list 'annotations'"),
        (lambda c: c.update(categories={}), "no list 'categories'"),
    ],
)
def test_faulty_annotation_files(tmp_path, change, message):
    edit(write_dataset(tmp_path), change)
    with pytest.raises(UserError, match=message) as error:
        CocoDataset(tmp_path, NAMES)
    assert str(tmp_path / "labels.json") in str(error.value)


def test_annotations_of_unlisted_images_are_counted(tmp_path):
    edit(write_dataset(tmp_path), lambda c: c["annotations"].append(annotation(999, 5, [1, 2, 3, 4])))
    assert "1 annotations of images that it does not list" in CocoDataset(tmp_path, NAMES).problems[0]


def test_broken_json_is_named_with_its_line(tmp_path):
    write_dataset(tmp_path)
    text = json.dumps(content([], []), indent=1)
    (tmp_path / "labels.json").write_text(text[: len(text) // 2])
    with pytest.raises(UserError, match=r"labels\.json, line \d+, column \d+: not valid JSON"):
        CocoDataset(tmp_path, NAMES)


def test_annotation_file_that_is_no_text(tmp_path):
    write_dataset(tmp_path)
    with pytest.raises(UserError, match="not a text file|not valid JSON"):
        CocoDataset(tmp_path / "data" / "000.png", NAMES)
