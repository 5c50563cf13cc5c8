"""Data sets in other formats: there and back keeps boxes and masks, and what cannot be kept is said."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from src.commands.convert_dataset import convert_dataset
from src.commands.open_data import data_config
from src.common.errors import UserError
from src.data.formats.coco import CocoDataset
from src.data.formats.fiftyone import FiftyOneDataset
from src.data.formats.labelme import LabelmeDataset
from src.data.formats.table import format_at
from src.data.formats.voc import VocDataset
from src.data.formats.yolo import YoloDataset
from src.data.masks import run_length_code, runs_of_window
from src.data.writers.api import ImagePlacer, WrittenSplit, split_of
from src.data.writers.polygons import polygons_of
from src.data.writers.table import WRITERS
from tests.data.coco_files import IDS, NAMES, annotation, content, noise_image, write_dataset
from tests.end_to_end.commands import run

HEIGHT, WIDTH = 427, 641
PARTS = [[10.25, 20.5, 60.13, 22, 40, 71.77], [80.5, 30, 99.25, 31, 90, 55.5]]


def blob() -> np.ndarray:
    """A mask with curves, corners and a thin part."""
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(image, (300, 200), (90, 51), 30, 0, 360, 1, -1)
    cv2.rectangle(image, (290, 230), (450, 260), 1, -1)
    return image


@pytest.fixture
def source(tmp_path: Path) -> CocoDataset:
    """Boxes with fractions, an object in two parts, run lengths, and a crowd, on images of odd sides."""
    rng = np.random.default_rng(0)
    boxes = [[float(value) for value in rng.uniform(1, 190, 4).round(2)] for _ in range(6)]
    annotations = [annotation(n, 10 + 3 * (n % 2), box, IDS[n % 3], segmentation=None) for n, box in enumerate(boxes)]
    annotations.append(annotation(90, 10, [10.25, 20.5, 89, 51.27], segmentation=PARTS))
    runs = runs_of_window(blob(), 0, 0, HEIGHT, WIDTH)
    box = coco_mask.toBbox(run_length_code(runs, HEIGHT, WIDTH)).tolist()
    annotations.append(annotation(91, 13, box, IDS[2], segmentation=runs))
    annotations.append(annotation(92, 13, box, IDS[2], segmentation=runs, iscrowd=1))
    for one in annotations:
        one.update({} if one["segmentation"] else {"segmentation": []})
    root = write_dataset(tmp_path / "source", 3, HEIGHT, WIDTH, annotations)
    return CocoDataset(root, NAMES)


def written(source: CocoDataset, target: str, folder: Path) -> WrittenSplit:
    split = split_of(source, "train")
    WRITERS[target](split, folder, ImagePlacer())
    return split


READERS = {
    "coco": lambda folder: CocoDataset(folder / "train", NAMES),
    "yolo": lambda folder: YoloDataset(folder, NAMES),
    "voc": lambda folder: VocDataset(folder, NAMES),
    "labelme": lambda folder: LabelmeDataset(folder, NAMES),
    "fiftyone": lambda folder: FiftyOneDataset(folder, NAMES),
}


@pytest.mark.parametrize("target", WRITERS)
def test_there_and_back(source: CocoDataset, target: str, tmp_path: Path) -> None:
    folder = tmp_path / target
    before = written(source, target, folder)
    after = split_of(READERS[target](folder), "train")
    keeps_crowds = target in ("coco", "voc", "fiftyone")
    assert [Path(image.path).name for image in after.images] == ["000.png", "001.png", "002.png"]
    for old, new in zip(before.images, after.images, strict=True):
        assert (old.height, old.width) == (new.height, new.width)
        kept = [one for one in old.objects if keeps_crowds or not one.crowd]
        assert [one.label for one in new.objects] == [one.label for one in kept]
        for one, other in zip(kept, new.objects, strict=True):
            assert np.abs(np.subtract(one.box, other.box)).max() < 0.01
            if target in ("voc", "fiftyone"):
                assert other.mask is None and other.difficult == one.crowd
            elif one.mask is None:
                assert other.mask is None
            elif isinstance(one.mask, list) and target != "yolo":
                assert np.abs(np.concatenate(one.mask) - np.concatenate(other.mask)).max() < 0.5
            else:
                assert farthest_edge(one.mask, other.mask) <= 0.5 + 1 / 5  # pycocotools rounds points to fifths
    if target in ("yolo", "labelme"):
        assert any("1 crowds are left out" in line for line in before.problems)
    if target in ("voc", "fiftyone"):
        assert any("masks are left out" in line for line in before.problems)


def farthest_edge(one, other) -> float:
    """How far, in pixels, the outline of one mask is from that of the other, judged by pixels that differ."""
    first, second = (coco_mask.decode(run_length_code(mask, HEIGHT, WIDTH)) for mask in (one, other))
    differing = first != second
    if not differing.any():
        return 0.0
    edge = cv2.morphologyEx(first, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    assert (edge[differing] == 1).all(), "pixels differ that are not on the outline"
    return 0.5 if differing.sum() <= 0.02 * first.sum() else 1.0


def test_polygons_of_run_lengths_lie_on_the_edges_of_their_pixels() -> None:
    (polygon,) = polygons_of(runs_of_window(blob(), 0, 0, HEIGHT, WIDTH), HEIGHT, WIDTH)
    points = np.array(polygon).reshape(-1, 2)
    x, y, width, height = cv2.boundingRect(blob())
    np.testing.assert_allclose([*points.min(axis=0), *points.max(axis=0)], [x, y, x + width, y + height], atol=1e-6)
    area = abs(np.dot(points[:, 0], np.roll(points[:, 1], 1)) - np.dot(points[:, 1], np.roll(points[:, 0], 1))) / 2
    assert area == pytest.approx(blob().sum(), rel=0.01)


def test_several_parts_are_one_polygon_of_the_same_pixels_in_yolo(source: CocoDataset, tmp_path: Path) -> None:
    written(source, "yolo", tmp_path / "yolo")
    dataset = YoloDataset(tmp_path / "yolo", NAMES, with_masks=True)
    found = dataset.records[0].masks[0]
    assert len(found) == 1
    one, other = (coco_mask.decode(run_length_code(mask, HEIGHT, WIDTH)) for mask in (PARTS, found))
    assert (one != other).sum() <= 1  # where the line between the parts begins


def test_pycocotools_reads_what_was_written(source: CocoDataset, tmp_path: Path) -> None:
    written(source, "coco", tmp_path / "coco")
    read, original = COCO(str(tmp_path / "coco/train/labels.json")), COCO(str(source.annotation_file))
    assert read.getCatIds() == original.getCatIds() and read.getImgIds() == original.getImgIds()
    for image_id in original.getImgIds():
        pairs = zip(*(one.loadAnns(one.getAnnIds(image_id)) for one in (original, read)), strict=True)
        for one, other in pairs:
            np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.01)
            assert one["category_id"] == other["category_id"] and one["iscrowd"] == other["iscrowd"]
            if one["segmentation"]:
                np.testing.assert_array_equal(original.annToMask(one), read.annToMask(other))


def test_images_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    placer = ImagePlacer("copy")
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_text(folder)
    (tmp_path / "b" / "x.png").write_text("png")
    paths = [placer.place(str(tmp_path / name), tmp_path / "out") for name in ("a/x.jpg", "b/x.jpg", "b/x.png")]
    assert [path.name for path in paths] == ["x.jpg", "x_2.jpg", "x_3.png"]
    assert [path.read_text() for path in paths] == ["a", "b", "png"] and not paths[0].is_symlink()


def test_the_command_finds_format_and_splits(tmp_path: Path) -> None:
    for name, number in (("train", 4), ("val", 2)):
        root = write_dataset(tmp_path / "mine" / name, number)
        cv2.imencode(".png", noise_image(40, 60))[1].tofile(root / "data" / "unused.png")
    out, _ = run("convert_dataset.py", "--data", "mine", "--to", "voc", "--output_dir", "voc", cwd=tmp_path)
    assert "train: 4 images, 3 objects, 3 classes" in out and "--dataset voc --val_dataset voc" in out
    year = str(tmp_path / "voc")
    assert len(VocDataset(year, NAMES, "val")) == 2
    with pytest.raises(UserError, match="voc: is not an empty folder"):
        convert_dataset(data_config("voc", year, year), "coco", year)
    convert_dataset(data_config("auto", year, year), "coco", tmp_path / "coco", "copy")
    written_back = json.loads((tmp_path / "coco/val/labels.json").read_text())
    original = json.loads((tmp_path / "mine/val/labels.json").read_text())
    found = sorted(one["bbox"] for one in written_back["annotations"])
    np.testing.assert_allclose(found, sorted(one["bbox"] for one in original["annotations"]), atol=0.01)


def test_a_folder_of_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"looks like no known format; name the format \(coco, voc, other, yolo"):
        format_at(tmp_path)
    with pytest.raises(UserError, match="is no folder of a data set"):
        format_at(tmp_path / "none")


def test_boxes_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    annotations = [annotation(1, 10, [5, 5, 10, 10]), annotation(2, 10, [100, 5, 10, 10]), annotation(3, 10, [1, 2])]
    root = write_dataset(tmp_path, 1, annotations=annotations)
    assert len(content([], annotations)["annotations"]) == 3
    split = split_of(CocoDataset(root, NAMES), "train")
    assert len(split.images[0].objects) == 1 and len(split.problems) == 2


def test_masks_are_refused_where_there_are_none(tmp_path: Path, source: CocoDataset) -> None:
    for image in (split := split_of(source, "train")).images:
        image.objects[:] = [one for one in image.objects if one.mask is None]
    WRITERS["labelme"](split, tmp_path / "out", ImagePlacer())
    with pytest.raises(UserError, match="no object has a mask"):
        LabelmeDataset(tmp_path / "out", NAMES, with_masks=True)
