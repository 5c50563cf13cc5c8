"""Data sets of annotation tools: what becomes of each kind of shape, and what is said of a mistake."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.common.errors import UserError
from src.data.formats.api import DatasetFormat
from src.data.formats.cvat import CvatDataset
from src.data.formats.labelme import LabelmeDataset
from src.data.formats.lvis import LvisDataset
from src.data.formats.table import FORMATS
from src.data.formats.yolo import YoloDataset
from src.data.masks import decode_mask, runs_of_window
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.dataset import MindRecordDataset
from src.evaluation.coco_evaluator import CocoEvaluator
from src.schema import Config
from tests.data.coco_files import NAMES
from tests.data.drawn_files import (
    TRIANGLE,
    cvat_xml,
    labelme_file,
    labelme_shape,
    png_text,
    write_cvat,
    write_labelme,
    write_lvis,
    write_yolo,
)
from tests.data.test_loader import make_config

FLAT = [value for point in TRIANGLE for value in point]
L_SHAPE = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 1]], np.uint8)


def boxes_of(dataset) -> list[list[float]]:
    return [box for record in dataset.records for box in np.round(record.boxes, 4).tolist()]


def masks_of(dataset) -> list:
    return [mask for record in dataset.records for mask in record.masks]


# YOLO


def test_yolo_boxes_and_polygons(tmp_path: Path) -> None:
    polygon = "2 " + " ".join(f"{x / 60} {y / 40}" for x, y in TRIANGLE)
    root = write_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.25\n", "b": "", "c": f"{polygon}\n\n1 0.1 0.1 0.2 0.2"})
    (root / "labels/train/b.txt").unlink()
    dataset = YoloDataset(root, NAMES)
    assert [len(record.boxes) for record in dataset.records] == [1, 0, 2]
    assert boxes_of(dataset) == [[15, 15, 45, 25], [10.5, 5, 30, 25.5], [0, 0, 12, 8]]
    assert [record.labels.tolist() for record in dataset.records] == [[0], [], [2, 1]]
    assert all(record.masks is None for record in dataset.records)
    with_masks = YoloDataset(root / "data.yaml", NAMES, with_masks=True)
    assert [len(record.boxes) for record in with_masks.records] == [0, 0, 1]
    np.testing.assert_allclose(masks_of(with_masks)[0], [FLAT])
    assert sum("have no mask and are left out" in line for line in with_masks.problems) == 2


def test_yolo_classes_may_be_in_another_order(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.25\n2 0.5 0.5 0.5 0.25"})
    dataset = YoloDataset(root, [NAMES[1], NAMES[2], NAMES[0]])
    assert dataset.records[0].labels.tolist() == [2, 1]


@pytest.mark.parametrize("entry", ["list.txt", "../images/train", "[images/train]"])
def test_yolo_splits_as_tools_write_them(tmp_path: Path, entry: str) -> None:
    root = write_yolo(tmp_path / "data", {"a": "0 0.5 0.5 0.5 0.25", "b": ""})
    (root / "list.txt").write_text("./images/train/a.png\nimages/train/b.png\n")
    text = (root / "data.yaml").read_text().replace("train: images/train", f"train: {entry}")
    (root / "data.yaml").write_text(text)
    assert len(YoloDataset(root, NAMES)) == 2


@pytest.mark.parametrize("folder", ["images/train", "images"])
def test_yolo_splits_that_are_not_named(tmp_path: Path, folder: str) -> None:
    root = write_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.25"})
    (root / "data.yaml").write_text("nc: 3\nnames: [cat, dog, owl]\n")
    if folder == "images":
        for name in ("images", "labels"):
            (root / name / "train").rename(root / name / "all")
    assert boxes_of(YoloDataset(root, NAMES)) == [[15, 15, 45, 25]]
    with pytest.raises(UserError, match=r"data\.yaml: has no val"):
        YoloDataset(root, NAMES, "val")


def test_yolo_key_points_come_after_the_box(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.25 0.1 0.1 2 0.2 0.2 2\n"}, header="kpt_shape: [2, 3]\n")
    assert boxes_of(YoloDataset(root, NAMES)) == [[15, 15, 45, 25]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("3 0.5 0.5 0.5 0.5", "line 2: class 3 is none of the 3 names of"),
        ("-1 0.5 0.5 0.5 0.5", "line 2: class -1 is none"),
        ("0.5 0.5 0.5 0.5 0.5", "line 2: class 0.5 is none"),
        ("cat 0.5 0.5 0.5 0.5", "line 2: 'cat 0.5 0.5 0.5 0.5' is not a class and numbers"),
        ("0 0.5 0.5 0.5", "line 2: 3 numbers after the class"),
        ("0 0.5 0.5 0.5 0.5 0.5 0.5 0.5", "line 2: 7 numbers after the class"),
        ("0 30 20 10 10", "line 2: '0 30 20 10 10' has a coordinate outside of 0 to 1"),
        ("0 nan 0.5 0.5 0.5", "outside of 0 to 1"),
        ("inf 0.5 0.5 0.5 0.5", "is not a class and numbers"),
    ],
)
def test_yolo_lines_that_are_wrong(tmp_path: Path, line: str, message: str) -> None:
    root = write_yolo(tmp_path, {"a": f"0 0.5 0.5 0.5 0.5\n{line}\n"})
    with pytest.raises(UserError) as caught:
        YoloDataset(root, NAMES)
    assert str(caught.value).startswith(f"{root}/labels/train/a.txt, line 2: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: x\n", "names is"),
        ("names: [a, a]\ntrain: x\n", "names has 'a' more than once"),
        ("names: {0: a, 2: b}\ntrain: x\n", "they must be 0, 1, 2"),
        ("names: [a]\nnc: 2\ntrain: x\n", "nc is 2, but names has 1"),
        ("names: [cat, dog, owl]\nval: x\n", "has no train"),
        ("names: [cat, dog, owl]\ntrain: x\n", "train .*x does not exist"),
        ("names: [cat, dog]\ntrain: x\n", r"its names are \['cat', 'dog'\], coco_classes has \['cat', 'dog', 'owl'\]"),
        ("- a\n", "it holds no keys"),
        ("names: [a\n", "line 2: not valid YAML"),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(f"{c}: &{c} [{', '.join(['*' + p] * 10)}]\n"
         for p, c in zip("abcdef", "bcdefg", strict=True)), "its aliases stand for over"),
    ],
)  # fmt: skip
def test_yolo_data_files_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError, match=rf"^{tmp_path}/data\.yaml.*{message}"):
        YoloDataset(tmp_path, NAMES)


def test_yolo_images_that_are_missing_or_broken_count(tmp_path: Path) -> None:
    root = write_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5", "b": "1 0.5 0.5 0.5 0.5"})
    (root / "list.txt").write_text("images/train/a.png\nimages/train/b.png\n")
    (root / "data.yaml").write_text((root / "data.yaml").read_text().replace("images/train", "list.txt", 1))
    (root / "images/train/a.png").unlink()
    (root / "images/train/b.png").write_bytes(b"none")
    dataset = YoloDataset(root, NAMES)
    assert len(dataset.missing_images) == 1 and len(dataset.records) == 1
    assert len(dataset.coco_annotations()["annotations"]) == 2
    assert any("b.png" in line for line in dataset.problems)


# labelme


def test_labelme_shapes(tmp_path: Path) -> None:
    shapes = [
        labelme_shape("cat", TRIANGLE),
        labelme_shape("dog", [[30, 20], [10, 5]], "rectangle"),
        labelme_shape("dog", [[20, 20], [20, 30]], "circle"),
        labelme_shape("owl", [[4, 2], [6, 4]], "mask", mask=png_text(L_SHAPE)),
        labelme_shape("owl", [[4, 2], [6, 4]], "line"),
        labelme_shape("cat", [[0, 0], [4, 0], [4, 4]], group_id=1),
        labelme_shape("cat", [[10, 10], [14, 10], [14, 14]], None, group_id=1),
        labelme_shape("dog", [[20, 0], [24, 0], [24, 4]], group_id=1),
    ]
    dataset = LabelmeDataset(write_labelme(tmp_path, {"a": shapes}), NAMES, with_masks=True)
    (record,) = LabelmeDataset(tmp_path, NAMES).records
    expected = [[10.5, 5, 30, 25.5], [10, 5, 30, 20], [10, 10, 30, 30], [4, 2, 7, 5], [0, 0, 14, 14], [20, 0, 24, 4]]
    assert boxes_of(LabelmeDataset(tmp_path, NAMES)) == expected
    assert record.labels.tolist() == [0, 1, 1, 2, 0, 1]
    assert len(dataset.records[0].boxes) == 5  # a rectangle has no mask
    masks = masks_of(dataset)
    assert masks[0] == [FLAT] and len(masks[3]) == 2
    window = decode_mask(masks[2], 40, 60).bitmap(40, 60)[2:5, 4:7]
    np.testing.assert_array_equal(window, L_SHAPE)
    area = coco_mask.area(coco_mask.merge(coco_mask.frPyObjects(masks[1], 40, 60)))
    assert area == pytest.approx(np.pi * 100, rel=0.03)
    assert any("shapes[4]: a 'line' is no object" in line for line in dataset.problems)
    truth = dataset.coco_annotations()
    assert [one["area"] for one in truth["annotations"]][3] == 5
    assert CocoEvaluator.for_dataset(dataset, ("bbox", "segm")).compute_metrics().num_images == 1


def test_labelme_finds_images(tmp_path: Path) -> None:
    root = write_labelme(tmp_path / "train", {"a": [], "b": [], "c": []})
    for stem, named in (("a", "..\\pictures\\a.png"), ("b", "renamed.jpg")):
        (root / f"{stem}.json").write_text(json.dumps(labelme_file([], named)))
    assert [Path(record.image).name for record in LabelmeDataset(tmp_path, NAMES).records] == [
        "a.png",
        "b.png",
        "c.png",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("shapes"), "not an annotation of labelme's: shapes is"),
        (lambda f: f.update(shapes=[None]), "shapes.0 is None"),
        (lambda f: f["shapes"][0].update(points=[[1, 2, 3]]), "shapes.0.points.0 is [1, 2, 3]"),
        (lambda f: f["shapes"][0].update(points=[[1, float("nan")]] * 3), "shapes.0.points.0.1 is nan"),
        (lambda f: f["shapes"][0].update(points=[[1, 2]]), "shapes[0]: a 'polygon' of 1 points is not one of"),
        (lambda f: f["shapes"][0].update(shape_type="cube"), "shapes[0]: a 'cube' of 3 points"),
        (lambda f: f["shapes"][0].update(label="cow"), "shapes[0]: object 'cow' is not one of the 3 classes"),
        (lambda f: f.update(imagePath=""), "imagePath is ''"),
        (lambda f: f.update(imagePath="a\0"), "imagePath 'a\\x00' is not the name of a file"),
        (lambda f: f.update(imageHeight=0), "imageHeight is 0"),
        (lambda f: f["shapes"].append(labelme_shape("cat", [[0, 0], [2, 2]], "mask", mask="AAAA")),
         "shapes[1]: its mask"),
        (lambda f: f["shapes"].append(labelme_shape("cat", [[0, 0], [3, 2]], "mask", mask=png_text(L_SHAPE))),
         "it has 3 x 3 pixels"),
        (lambda f: f["shapes"].append(labelme_shape("cat", [[58, 0], [60, 2]], "mask", mask=png_text(L_SHAPE))),
         "it reaches beyond the image"),
    ],
)  # fmt: skip
def test_labelme_files_that_are_wrong(tmp_path: Path, change, message: str) -> None:
    root = write_labelme(tmp_path, {"a": [], "b": [labelme_shape("cat", TRIANGLE)]})
    content = json.loads((root / "b.json").read_text())
    change(content)
    (root / "b.json").write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        LabelmeDataset(root, NAMES)
    assert str(caught.value).startswith(f"{root}/b.json: ") and message in str(caught.value)


# CVAT


SHAPES = """<box label="cat" occluded="0" xtl="10.5" ytl="5.00" xbr="30.00" ybr="25.50" z_order="0"/>
<polygon label="dog" points="10.50,5.00;30.00,6.00;20.00,25.50" z_order="0"><attribute name="a">b</attribute></polygon>
<mask label="owl" rle="0, 1, 2, 1, 2, 3" left="4" top="2" width="3" height="3"/>
<ellipse label="cat" cx="20" cy="20" rx="10" ry="5" rotation="90"/>
<box label="cat" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90.00"/>
<points label="cat" points="1,1"/>
<polygon label="owl" points="0,0;4,0;4,4" group_id="3"/>
<polygon label="owl" points="10,10;14,10;14,14" group_id="3"/>"""


def test_cvat_shapes(tmp_path: Path) -> None:
    root = write_cvat(tmp_path, {"a.png": SHAPES, "b.png": ""})
    dataset = CvatDataset(root, NAMES)
    assert boxes_of(dataset) == [
        [10.5, 5, 30, 25.5], [10.5, 5, 30, 25.5], [4, 2, 7, 5], [15, 10, 25, 30], [15, 5, 25, 25], [0, 0, 14, 14]
    ]  # fmt: skip
    assert [record.labels.tolist() for record in dataset.records] == [[0, 1, 2, 0, 0, 2], []]
    masks = masks_of(CvatDataset(root / "annotations.xml", NAMES, with_masks=True))
    assert len(masks) == 5 and masks[0] == [FLAT] and len(masks[-1]) == 2
    np.testing.assert_array_equal(decode_mask(masks[1], 40, 60).bitmap(40, 60)[2:5, 4:7], L_SHAPE)
    assert any("points 6 of image 'a.png' is no object" in line for line in dataset.problems)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ('<box label="cow" xtl="1" ytl="1" xbr="2" ybr="2"/>', "box 1 of image 'a.png': object 'cow' is not one"),
        ('<box label="cat" xtl="1" ytl="1" xbr="2"/>', "box 1 of image 'a.png': ybr is '', not a number"),
        ('<box label="cat" xtl="1" ytl="1" xbr="nan" ybr="2"/>', "xbr is 'nan'"),
        ('<polygon label="cat" points="1,1;2,2"/>', "polygon 1 of image 'a.png': 2 points"),
        ('<polygon label="cat" points="1,1;2;3,3"/>', "points is ''"),
        ('<mask label="cat" rle="5,6" left="0" top="0" width="3" height="3"/>', "end after 11 pixels"),
        ('<mask label="cat" rle="x" left="0" top="0" width="3" height="3"/>', "rle is 'x', not run lengths"),
        ('<mask label="cat" rle="9" left="58" top="0" width="3" height="3"/>', "is not inside of the image"),
        ('<cloud label="cat"/>', "cloud 1 of image 'a.png': not one of CVAT's shapes"),
    ],
)
def test_cvat_entries_that_are_wrong(tmp_path: Path, shape: str, message: str) -> None:
    root = write_cvat(tmp_path, {"a.png": shape})
    with pytest.raises(UserError) as caught:
        CvatDataset(root, NAMES)
    assert str(caught.value).startswith(f"{root}/annotations.xml, line 5: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation/>", "its root is <annotation>"),
        ("<annotations><track/></annotations>", "names no images; export the task as 'CVAT for images 1.1'"),
        ("<annotations><image width='1' height='1'/></annotations>", "line 1: name '' is not the name of a file"),
        ("<annotations><image name='a' width='0' height='1'/></annotations>", "line 1: width is '0'"),
        ("<!DOCTYPE a [<!ENTITY b0 'bbbbbbbbbb'>" + "".join(
            f"<!ENTITY b{i} '{f'&b{i - 1};' * 10}'>" for i in range(1, 12)) + "]><annotations>&b11;</annotations>",
         "not valid XML"),
        ("<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><annotations>&b;</annotations>", "not valid XML"),
    ],
)  # fmt: skip
def test_cvat_files_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(UserError) as caught:
        CvatDataset(tmp_path, NAMES)
    assert str(caught.value).startswith(f"{tmp_path}/annotations.xml") and message in str(caught.value)


# LVIS


def test_lvis_files(tmp_path: Path) -> None:
    root = write_lvis(tmp_path)
    dataset = LvisDataset(root, NAMES, with_masks=True)
    assert [Path(record.image).relative_to(root).as_posix() for record in dataset.records] == [
        "train2017/0.png", "train2017/1.png", "train2017/2.png"
    ]  # fmt: skip
    assert boxes_of(dataset) == [[5, 6, 25, 18], [6, 6, 26, 18], [7, 6, 27, 18]]
    assert not any(record.crowd.any() for record in dataset.records)
    assert CocoEvaluator.for_dataset(dataset, ("bbox", "segm")).compute_metrics().num_images == 3
    with pytest.raises(UserError, match=r"has no lvis\*_val\*\.json"):
        LvisDataset(root, NAMES, "val")


def test_lvis_images_without_any_name(tmp_path: Path) -> None:
    path = write_lvis(tmp_path) / "annotations/lvis_v1_train.json"
    content = json.loads(path.read_text())
    del content["images"][1]["coco_url"]
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"lvis_v1_train\.json: images\[1\] has no file_name"):
        LvisDataset(path, NAMES)


# all of them


WRITERS = {
    "yolo": lambda root: write_yolo(root, {"a": "0 0.5 0.5 0.5 0.25\n1 0.5 0.5 0.5 0.25\n2 0.5 0.5 0.5 0.25"}),
    "labelme": lambda root: write_labelme(root, {"a": [labelme_shape(name, TRIANGLE) for name in reversed(NAMES)]}),
    "lvis": write_lvis,
    "cvat": lambda root: write_cvat(root, {"a.png": SHAPES}, ()),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITERS)
def test_they_name_their_classes_and_are_told_apart(tmp_path: Path, name: str) -> None:
    root = WRITERS[name](tmp_path / "data")
    chosen: DatasetFormat = FORMATS[name]
    config = Config(dataset=name, anno_path=str(root), coco_classes=["background", *NAMES], num_classes=4)
    assert chosen.class_names(config, True) == NAMES
    assert [other for other, one in FORMATS.items() if one.holds(root)] == [name]
    dataset = chosen.open_split(config, True, chosen.has_masks and name != "yolo")
    assert len(dataset.records) >= 1 and dataset.class_names == NAMES


def test_they_are_packed_with_their_masks(tmp_path: Path) -> None:
    shapes = [labelme_shape("cat", TRIANGLE), labelme_shape("owl", [[4, 2], [6, 4]], "mask", mask=png_text(L_SHAPE))]
    root = write_labelme(tmp_path / "data", {"a": shapes, "b": []})
    create_mindrecord(make_config(root, dataset="labelme", mindrecord_dir=str(tmp_path / "packed")))
    packed = MindRecordDataset(tmp_path / "packed", "train.mindrecord", NAMES, with_masks=True)
    raw = LabelmeDataset(root, NAMES, with_masks=True)
    assert masks_of(packed) == masks_of(raw) and boxes_of(packed) == boxes_of(raw)
    assert packed.coco_annotations()["annotations"] == raw.coco_annotations()["annotations"]


def test_cvat_labels_keep_the_order_of_the_task(tmp_path: Path) -> None:
    root = write_cvat(tmp_path, {"a.png": SHAPES}, ("owl", "cat", "dog"))
    config = Config(dataset="cvat", anno_path=str(root), coco_classes=["background", *NAMES], num_classes=4)
    assert FORMATS["cvat"].class_names(config, True) == ["owl", "cat", "dog"]
    assert cvat_xml({}).startswith("<?xml")


def test_run_lengths_of_a_window_are_those_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for density in (0.1, 0.5, 0.9, 1.0):
        for left, top, height, width in ((0, 0, 7, 9), (3, 2, 5, 4), (3, 0, 7, 4)):
            image = np.zeros((7, 9), np.uint8)
            window = (rng.random((height, width)) < density).astype(np.uint8)[: 7 - top, : 9 - left]
            image[top : top + window.shape[0], left : left + window.shape[1]] = window
            found = coco_mask.frPyObjects(runs_of_window(window, left, top, 7, 9), 7, 9)
            assert found == coco_mask.encode(np.asfortranarray(image))
