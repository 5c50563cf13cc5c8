"""FiftyOne's own layout: what its importers take is read and written."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.formats.coco import CocoDataset
from src.data.formats.fiftyone import FiftyOneDataset
from src.data.formats.table import FORMATS, format_at
from src.data.writers.api import ImagePlacer, split_of
from src.data.writers.table import WRITERS
from src.schema import Config
from tests.data.coco_files import IDS, NAMES, annotation, write_dataset
from tests.data.drawn_files import fiftyone_object, write_fiftyone

BOX = [0.1, 0.25, 0.5, 0.5]  # of 40 x 60 pixels: 6, 10, 36, 30


def test_labels_are_numbers_or_names(tmp_path: Path) -> None:
    crowd = fiftyone_object("owl", BOX, attributes={"iscrowd": 1, "supercategory": "bird"})
    objects = [fiftyone_object(1, BOX), fiftyone_object("cat", BOX, confidence=0.5, tags=["a"]), crowd]
    dataset = FiftyOneDataset(write_fiftyone(tmp_path, {"a": objects, "more/b": [], "c": None}), NAMES)
    assert [Path(record.image).name for record in dataset.records] == ["a.png", "b.png", "c.png"]
    record = dataset.records[0]
    np.testing.assert_allclose(record.boxes, [[6, 10, 36, 30]] * 3)
    assert record.labels.tolist() == [1, 0, 2] and record.difficult.tolist() == [False, False, True]
    assert (record.height, record.width) == (40, 60)
    assert not len(dataset.records[1].boxes) and not len(dataset.records[2].boxes)


@pytest.mark.parametrize("classes", [NAMES, None])
def test_it_names_its_classes_and_is_told_from_coco(tmp_path: Path, classes: list[str] | None) -> None:
    objects = [fiftyone_object(name, BOX) for name in reversed(NAMES)]
    root = write_fiftyone(tmp_path / "data set", {"a": objects}, classes)
    config = Config(dataset="fiftyone", anno_path=str(root), coco_classes=["background", *NAMES], num_classes=4)
    assert FORMATS["fiftyone"].class_names(config, True) == NAMES
    assert format_at(root) == "fiftyone"
    assert format_at(write_dataset(tmp_path / "coco")) == "coco"


def test_images_may_lie_where_a_list_says(tmp_path: Path) -> None:
    root = write_fiftyone(tmp_path / "a", {"one": [fiftyone_object(0, BOX)]})
    (root / "data").rename(tmp_path / "elsewhere")
    (root / "data.json").write_text(json.dumps({"one": str(tmp_path / "elsewhere/one.png")}))
    assert FiftyOneDataset(root, NAMES).records[0].image == str(tmp_path / "elsewhere/one.png")
    (root / "data.json").unlink()
    assert len(FiftyOneDataset(root, NAMES, images_dir=tmp_path / "elsewhere").records) == 1
    gone = FiftyOneDataset(root, NAMES)
    assert len(gone.records) == 0 and len(gone.missing_images) == 1
    assert len(gone.coco_annotations()["annotations"]) == 1  # it counts in evaluation


def test_splits_have_folders_of_their_own(tmp_path: Path) -> None:
    for name, stem in (("train", "a"), ("val", "b")):
        write_fiftyone(tmp_path / name, {stem: [fiftyone_object(0, BOX)]})
    for split, stem in (("train", "a"), ("val", "b")):
        assert Path(FiftyOneDataset(tmp_path, NAMES, split).records[0].image).stem == stem
    assert format_at(tmp_path) == "fiftyone"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": {"a": [{"label": 3, "bounding_box": BOX}]}, "classes": NAMES}, "label 3 is none of the 3 classes"),
        ({"labels": {"a": [{"label": "emu", "bounding_box": BOX}]}}, r"'a'\[0\]: object 'emu' is not one of the 3"),
        ({"labels": {"a": [{"label": 0, "bounding_box": BOX[:3]}]}}, r"labels\.a\.0\.bounding_box is \[0\.1"),
        ({"labels": {"a": [{"label": 0}]}}, r"labels\.a\.0\.bounding_box is .*field required"),
        ({"labels": {}}, "names no images"),
        ({"labels": {"a\0": []}}, "is not the name of an image"),
        ({"images": []}, "not FiftyOne's labels.json: labels"),
        ([], "not FiftyOne's labels.json: it is"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, content, message: str) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message) as caught:
        FiftyOneDataset(tmp_path, NAMES)
    assert str(caught.value).startswith(str(tmp_path / "labels.json"))


def test_what_is_written_is_what_its_importer_takes(tmp_path: Path) -> None:
    """The classes, and for each image, by its name without suffix, its objects in shares of its sides."""
    objects = [annotation(1, 10, [6, 10, 30, 20], IDS[1], segmentation=None), annotation(2, 10, [0, 0, 30, 20], IDS[2])]
    objects.append(annotation(3, 13, [0, 0, 60, 40], IDS[0], segmentation=None, iscrowd=1))
    split = split_of(CocoDataset(write_dataset(tmp_path / "source", 3, annotations=objects), NAMES), "train")
    assert WRITERS["fiftyone"](split, tmp_path / "out", ImagePlacer()) == tmp_path / "out/train"
    assert json.loads((tmp_path / "out/train/labels.json").read_text()) == {
        "classes": NAMES,
        "labels": {
            "000": [
                {"label": 1, "bounding_box": [0.1, 0.25, 0.5, 0.5]},
                {"label": 2, "bounding_box": [0.0, 0.0, 0.5, 0.5]},
            ],
            "001": [{"label": 0, "bounding_box": [0.0, 0.0, 1.0, 1.0], "attributes": {"iscrowd": 1}}],
            "002": [],
        },
    }
    assert sorted(path.name for path in (tmp_path / "out/train/data").iterdir()) == ["000.png", "001.png", "002.png"]
    assert any("1 masks are left out" in line for line in split.problems)
