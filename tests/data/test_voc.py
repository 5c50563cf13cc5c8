"""Pascal VOC folders: layouts, boxes, difficult objects, and what is said when something is wrong."""

from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.formats.voc import VocDataset
from tests.data.coco_files import NAMES
from tests.data.listed_files import voc_object, voc_xml, write_image, write_year

TRAINVAL = {"train": ["a", "b"], "val": ["c"], "trainval": ["a", "b", "c"]}


def stems(dataset: VocDataset) -> list[str]:
    return [Path(record.image).stem for record in dataset.records]


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """2007 with an annotated test, 2012 with one that was published without annotations."""
    write_year(tmp_path / "VOCdevkit/VOC2007", {**TRAINVAL, "test": ["t1", "t2"], "cat_train": ["a", "b"]})
    years = {name: [f"2012_{stem}" for stem in listed] for name, listed in TRAINVAL.items()}
    write_year(tmp_path / "VOCdevkit/VOC2012", {**years, "test": ["u"]}, annotated=years["trainval"])
    return tmp_path / "VOCdevkit"


@pytest.mark.parametrize("given", ["", "VOCdevkit"])
def test_devkit(devkit, given):
    root = devkit.parent / given
    assert stems(VocDataset(root, NAMES, "train")) == ["a", "b", "c", "2012_a", "2012_b", "2012_c"]
    assert stems(VocDataset(root, NAMES, "val")) == ["t1", "t2"]


def test_a_year_whose_test_has_no_annotations_is_split_into_train_and_val(devkit):
    assert stems(VocDataset(devkit / "VOC2012", NAMES, "train")) == ["2012_a", "2012_b"]
    dataset = VocDataset(devkit / "VOC2012", NAMES, "val")
    assert stems(dataset) == ["2012_c"] and [record.image_id for record in dataset.records] == [1]
    assert dataset.annotation_file == devkit / "VOC2012/ImageSets/Main/val.txt"


def test_image_sets_by_name(devkit):
    assert stems(VocDataset(devkit, NAMES, "train", ["VOC2012/val", "VOC2007/train"])) == ["2012_c", "a", "b"]
    assert stems(VocDataset(devkit, NAMES, "val", ["train"])) == ["a", "b", "2012_a", "2012_b"]
    with pytest.raises(UserError, match=r"no image set 'VOC2007/tests'; there are VOC2007/test, VOC2007/train, "):
        VocDataset(devkit, NAMES, "train", ["VOC2007/tests"])


def test_image_sets_of_a_year_that_is_not_there(devkit):
    wanted = ["VOC2007/trainval", "VOC2010/trainval"]
    with pytest.raises(UserError) as caught:
        VocDataset(devkit, NAMES, "train", wanted)
    assert "no image set 'VOC2010/trainval'; there are VOC2007/test, " in str(caught.value)
    assert "(voc_train_sets asks for VOC2007/trainval, VOC2010/trainval; " in str(caught.value)
    assert str(caught.value).endswith("--voc_train_sets [VOC2007/trainval] takes what is there)")


def test_a_list_as_path(devkit):
    assert stems(VocDataset(devkit / "VOC2007/ImageSets/Main/val.txt", NAMES)) == ["c"]
    other = devkit / "some.txt"
    other.write_text("a\n")
    with pytest.raises(UserError, match="ImageSets/Main/ beside Annotations/"):
        VocDataset(other, NAMES)


def test_a_folder_without_lists_has_all_images_of_its_annotations(tmp_path):
    write_year(tmp_path, {"x": ["a", "b"]}, images="images")
    for path in (tmp_path / "ImageSets/Main/x.txt", tmp_path / "ImageSets/Main", tmp_path / "ImageSets"):
        path.unlink() if path.is_file() else path.rmdir()
    dataset = VocDataset(tmp_path, NAMES)
    assert stems(dataset) == ["a", "b"] and dataset.images_dir == tmp_path / "images"


@pytest.mark.parametrize(("annotations", "images"), [("Annotations", "Images"), (".", "."), ("Annotations", ".")])
@pytest.mark.parametrize("evaluation", ["eval", "val", "test"])
def test_folders_train_and_eval(tmp_path, annotations, images, evaluation):
    for split, stem in (("train", "a"), (evaluation, "b")):
        (tmp_path / split / annotations).mkdir(parents=True)
        (tmp_path / split / annotations / f"{stem}.xml").write_text(voc_xml())
        write_image(tmp_path / split / images / f"{stem}.png")
    assert stems(VocDataset(tmp_path, NAMES, "train")) == ["a"]
    assert stems(VocDataset(tmp_path, NAMES, "val")) == ["b"]


def test_nothing_found(tmp_path):
    with pytest.raises(UserError, match="does not exist; give VOCdevkit"):
        VocDataset(tmp_path / "nowhere", NAMES)
    with pytest.raises(UserError, match="no Pascal VOC data found.*eval/"):
        VocDataset(tmp_path, NAMES, "val")
    write_year(tmp_path / "VOC2007", {"train": ["a"]})
    with pytest.raises(UserError, match=r"no ImageSets/Main/test\.txt or val\.txt in VOC2007"):
        VocDataset(tmp_path, NAMES, "val")


def one_image(tmp_path: Path, content: str, **options) -> VocDataset:
    (tmp_path / "Annotations").mkdir(exist_ok=True)
    (tmp_path / "Annotations/a.xml").write_text(content)
    write_image(tmp_path / "JPEGImages/a.png")
    return VocDataset(tmp_path, NAMES, **options)


def test_boxes_count_from_0_and_end_behind_their_last_pixel(tmp_path):
    xml = (
        "<object><name>dog</name><bndbox><ymin>1</ymin><xmin>11</xmin><xmax>20</xmax><ymax>40</ymax></bndbox></object>"
    )
    record = one_image(tmp_path, voc_xml(xml)).records[0]
    assert record.boxes.tolist() == [[10, 0, 20, 40]] and record.boxes.dtype == np.float32
    assert record.labels.tolist() == [1] and record.labels.dtype == np.int32
    assert (record.height, record.width) == (40, 60)
    assert not record.difficult.any() and not record.crowd.any() and record.masks is None


def test_classes_by_name_in_the_configurations_order(tmp_path):
    objects = voc_object("owl", (1, 1, 9, 9)) + voc_object("cat", (2, 2, 8, 8))
    dataset = one_image(tmp_path, voc_xml(objects))
    assert dataset.records[0].labels.tolist() == [NAMES.index("owl"), NAMES.index("cat")]
    assert dataset.category_ids == [1, 2, 3]
    assert dataset.problems == [f"{tmp_path}/Annotations: no object of dog; is coco_classes right?"]
    assert one_image(tmp_path, voc_xml(objects), category_ids=[7, 90, 12]).category_ids == [7, 90, 12]


def test_difficult_objects(tmp_path):
    objects = voc_object("cat", (1, 1, 9, 9), 1) + voc_object("dog", (2, 2, 8, 8)) + voc_object("owl", (3, 3, 7, 7), 1)
    record = one_image(tmp_path, voc_xml(objects)).records[0]
    assert record.labels.tolist() == [0, 1, 2] and record.difficult.tolist() == [True, False, True]
    dataset = one_image(tmp_path, voc_xml(objects), keep_difficult=False)
    record = dataset.records[0]
    assert record.labels.tolist() == [1] and record.difficult.tolist() == [False] and len(record.crowd) == 1
    assert [one["difficult"] for one in dataset.coco_annotations()["annotations"]] == [1, 0, 1]


def test_ground_truth_in_memory(tmp_path):
    dataset = one_image(tmp_path, voc_xml(voc_object("dog", (10, 5, 30, 20))))
    content = dataset.coco_annotations()
    assert content["categories"] == [{"id": k + 1, "name": name} for k, name in enumerate(NAMES)]
    path = str(tmp_path / "JPEGImages/a.png")
    assert content["images"] == [{"id": 1, "file_name": path, "height": 40, "width": 60}]
    (one,) = content["annotations"]
    assert one == {
        "id": 1,
        "image_id": 1,
        "category_id": 2,
        "bbox": [10, 5, 20, 15],
        "area": 300,
        "iscrowd": 0,
        "difficult": 0,
    }


def test_missing_images_are_reported_and_count_in_evaluation(devkit):
    (devkit / "VOC2007/JPEGImages/t1.png").unlink()
    dataset = VocDataset(devkit, NAMES, "val")
    assert stems(dataset) == ["t2"] and dataset.records[0].image_id == 2
    assert [Path(path).stem for path in dataset.missing_images] == ["t1"]
    assert any("t1" in line and "missing" in line and "t1.xml names it" in line for line in dataset.problems)
    assert [image["id"] for image in dataset.coco_annotations()["images"]] == [1, 2]


def test_the_image_may_be_named_by_the_annotation(tmp_path):
    write_image(tmp_path / "JPEGImages/photo 1.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/note.xml").write_text(voc_xml(filename="photo 1.png"))
    assert stems(VocDataset(tmp_path, NAMES)) == ["photo 1"]


@pytest.mark.parametrize("size_hw", [None, (0, 0)])
def test_a_size_that_is_not_given_is_read_from_the_image(tmp_path, size_hw):
    record = one_image(tmp_path, voc_xml(voc_object("cat", (1, 1, 90, 9)), size_hw)).records[0]
    assert (record.height, record.width) == (40, 60) and record.boxes.tolist() == [[1, 1, 60, 9]]


@pytest.mark.parametrize("box", [(10, 10, 10, 20), (20, 10, 10, 20), (60, 0, 70, 9), (float("nan"), 1, 5, 5)])
def test_impossible_boxes_are_skipped_and_reported(tmp_path, box):
    objects = voc_object("cat", (1, 1, 9, 9)) + voc_object("dog", box)
    dataset = one_image(tmp_path, voc_xml(objects))
    assert dataset.records[0].labels.tolist() == [0]
    line = 1 + voc_xml(objects).split("<name>dog")[0].count("\n") - 1
    assert dataset.problems[0].startswith(f"{tmp_path}/Annotations/a.xml, line {line}: box ")
    assert "(60x40); skipped" in dataset.problems[0]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("<annotation>\n<object>\n</annotation>", 3, "not valid XML"),
        ("", 1, "not valid XML"),
        (voc_xml("<object><name>cat</name></object>"), 4, "object 'cat' needs a bndbox"),
        (voc_xml(voc_object("cat", (1, 1, 2, 2)).replace("<ymax>2</ymax>", "")), 4, "needs a bndbox"),
        (voc_xml(voc_object("cat", (1, 1, 2, 2)).replace(">2<", ">two<")), 4, "numbers"),
        (voc_xml("\n" + voc_object("cow", (1, 1, 2, 2))), 5, r"'cow' is not one of the 3 classes.*'cat', 'dog', 'owl'"),
    ],
)
def test_faulty_annotations_are_named_with_their_line(tmp_path, content, line, message):
    with pytest.raises(UserError, match=rf"a\.xml, line {line}: .*{message}"):
        one_image(tmp_path, content)


def test_another_kind_of_xml(tmp_path):
    with pytest.raises(UserError, match=r"a\.xml: its root is <kml>"):
        one_image(tmp_path, "<kml></kml>")


def test_a_listed_image_without_annotation(devkit):
    with pytest.raises(UserError, match=r"test\.txt, line 1: 'u' has no annotation .*u\.xml"):
        VocDataset(devkit, NAMES, "val", ["VOC2012/test"])


def test_an_image_listed_twice(devkit):
    with pytest.raises(UserError, match=r"trainval\.txt, line 1: .*a\.xml is in .*train\.txt, line 1 too"):
        VocDataset(devkit, NAMES, "train", ["VOC2007/train", "VOC2007/trainval"])


def test_parts_of_a_data_set(devkit):
    assert stems(VocDataset(devkit, NAMES, "train", first=4)) == ["a", "b", "c", "2012_a"]
    assert stems(VocDataset(devkit, NAMES, "train", first=5, every=2)) == ["a", "c", "2012_b"]
