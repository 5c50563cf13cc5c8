"""Read CVAT's XML ("CVAT for images 1.1"): one file for all images, with boxes, polygons, ellipses and masks."""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.common.text import shortened, shown
from src.data.formats.api import annotation_path, split_name
from src.data.formats.drawn import drawn_format
from src.data.formats.folders import require_existing, split_places
from src.data.formats.listed import ClassLabels, ListedDataset, ListedImage, ListedObject
from src.data.formats.shapes import ellipse_points, joined_groups, polygon_object, turned, window_object
from src.data.formats.xml_file import parse_xml, places
from src.data.image import MOST_PIXELS
from src.data.reader_checks import FolderListings, check_unique, subset
from src.schema import Config

STANDARD_NAME = "annotations.xml"
NO_OBJECTS = ("polyline", "points", "cuboid", "skeleton", "tag")
_BOX = ("xtl", "ytl", "xbr", "ybr")
_ELLIPSE = ("cx", "cy", "rx", "ry")
_WINDOW = ("left", "top", "width", "height")


class CvatDataset(ListedDataset):
    """The images of CVAT's XML.

    A box is an object without a mask, unless it is turned: then its corners are a polygon. Polygons of one label and
    group are the parts of one object. Lines, points, cuboids, skeletons and tags are no objects, and are left out.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        split: str = "train",
        with_masks: bool = False,
        images_dir: str | os.PathLike = "",
        category_ids: Sequence[int] = (),
        first: int = 0,
        every: int = 0,
    ) -> None:
        """Read the annotations; images are only looked up.

        Args:
            path: the XML file, its folder, or one with a folder for each split.
            class_names: names of the foreground classes, in label order.
            split: "train" or "val".
            with_masks: keep the masks; see `ListedDataset`.
            images_dir: folder that names are relative to; empty: the file's own, or `images/` in it.
            category_ids: see `ListedDataset`.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.

        Raises:
            UserError: a file that is not CVAT's, or one of its entries; objects of other classes; no images.
        """
        file = find_file(Path(path), split)
        reader = _Reader(file, ClassLabels(class_names), images_dir)
        images = subset(reader.images(), first, every)
        check_unique((image.where, image.path) for image in images)
        super().__init__(file, images, class_names, category_ids, with_masks)
        self.problems += reader.problems
        self.images_dir = Path(images_dir or file.parent)


def find_file(path: Path, split: str) -> Path:
    """The XML file that a path stands for. Raises UserError."""
    require_existing(path, "CVAT's XML file or its folder")
    if not path.is_dir():
        return path
    for folder in split_places(path, split):
        found = [folder / STANDARD_NAME] if (folder / STANDARD_NAME).is_file() else sorted(folder.glob("*.xml"))
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{folder}: has {len(found)} XML files and no {STANDARD_NAME}; give one of them")
    raise UserError(f"{path}: no XML file; CVAT exports an {STANDARD_NAME}")


class _Reader:
    """Reads the `ListedImage`s of one file."""

    def __init__(self, path: Path, labels: ClassLabels, images_dir: str | os.PathLike) -> None:
        self._path = path
        self._labels = labels
        folder = path.parent
        self._folders = [Path(images_dir)] if images_dir else [folder, folder / "images"]
        self._listings = FolderListings()
        self.problems: list[str] = []

    def images(self) -> list[ListedImage]:
        """All images, in the order of the file."""
        text, root = parse_xml(self._path)
        if root.tag != "annotations":
            raise UserError(f"{self._path}: its root is <{shortened(root.tag)}>; CVAT's files have <annotations>")
        nodes = root.findall("image")
        if not nodes:
            hint = "; export the task as 'CVAT for images 1.1'" if root.find("track") is not None else ""
            raise UserError(f"{self._path}: names no images{hint}")
        wheres = places(self._path, text, "image", len(nodes))
        return [self._image(where, node) for where, node in zip(wheres, nodes, strict=True)]

    def declared_names(self) -> list[str]:
        """The labels of the task or project, in its order; none where the file does not say them."""
        _, root = parse_xml(self._path)
        named = [node.findtext("name", "").strip() for node in root.iterfind("meta//labels/label")]
        return list(dict.fromkeys(name for name in named if name))

    def _image(self, where: str, node: ElementTree.Element) -> ListedImage:
        name = node.get("name", "").strip()
        if not name or "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
            raise UserError(f"{where}: name {shown(name)} is not the name of a file")
        height, width = (int(side) for side in _numbers(where, node, ("height", "width"), r"[1-9][0-9]{0,8}"))
        found = []
        for number, shape in enumerate(node, 1):
            place = f"{where}: {shortened(shape.tag)} {number} of image '{shortened(name)}'"
            if shape.tag in NO_OBJECTS:
                self.problems.append(f"{place} is no object; left out")
            else:
                group = shape.get("group_id", "0")
                found.append((self._object(place, shape, (height, width)), None if group == "0" else group))
        return ListedImage(where, self._image_path(name), (height, width), joined_groups(found))

    def _image_path(self, name: str) -> str:
        choices = [os.path.normpath(folder / name) for folder in self._folders]
        return next((choice for choice in choices if choice in self._listings), choices[0])

    def _object(self, where: str, shape: ElementTree.Element, size_hw: tuple[int, int]) -> ListedObject:
        label = self._labels.of(where, shape.get("label", "").strip())
        degrees = _number(where, "rotation", shape.get("rotation", "0"))
        if shape.tag == "box":
            x1, y1, x2, y2 = _numbers(where, shape, _BOX)
            if not degrees:
                return ListedObject(where, label, (x1, y1, x2, y2))
            corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
            return polygon_object(where, label, turned(corners, (x1 + x2) / 2, (y1 + y2) / 2, degrees))
        if shape.tag == "ellipse":
            x, y, radius_x, radius_y = _numbers(where, shape, _ELLIPSE)
            return polygon_object(where, label, ellipse_points(x, y, radius_x, radius_y, degrees))
        if shape.tag == "polygon":
            return polygon_object(where, label, _points(where, shape.get("points", "")))
        if shape.tag == "mask":
            return _mask_object(where, label, shape, size_hw)
        raise UserError(f"{where}: not one of CVAT's shapes: box, polygon, ellipse, mask, {', '.join(NO_OBJECTS)}")


def _number(where: str, name: str, text: str, pattern: str = r"\s*[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*") -> float:
    if len(text) < 50 and re.fullmatch(pattern, text):
        try:
            return float(text)
        except ValueError:
            pass
    raise UserError(f"{where}: {name} is {shown(text)}, not a number as CVAT writes it")


def _numbers(where: str, node: ElementTree.Element, names: Sequence[str], *pattern: str) -> list[float]:
    return [_number(where, name, node.get(name, ""), *pattern) for name in names]


def _points(where: str, text: str) -> list[tuple[float, float]]:
    points = []
    for pair in text.split(";"):
        x, comma, y = pair.partition(",")
        points.append((_number(where, "points", x), _number(where, "points", y if comma else "")))
    if len(points) < 3:
        raise UserError(f"{where}: {len(points)} points; a polygon has at least 3")
    return points


def _mask_object(where: str, label: int, shape: ElementTree.Element, size_hw: tuple[int, int]) -> ListedObject:
    """An object from CVAT's run lengths: along the rows of a window, first those outside."""
    left, top, width, height = (int(side) for side in _numbers(where, shape, _WINDOW, r"[0-9]{1,9}"))
    if not 0 < width * height <= MOST_PIXELS or left + width > size_hw[1] or top + height > size_hw[0]:
        raise UserError(f"{where}: a mask of {width} x {height} pixels at {left}, {top} is not inside of the image")
    words = shape.get("rle", "").split(",")
    if not all(re.fullmatch(r"\s*[0-9]{1,9}\s*", word) for word in words):
        raise UserError(f"{where}: rle is {shown(shape.get('rle', ''))}, not run lengths")
    counts = np.array([int(word) for word in words], np.int64)
    if counts.sum() != width * height:
        raise UserError(f"{where}: the runs of rle end after {counts.sum()} pixels, the mask has {width * height}")
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    return window_object(where, label, pixels, left, top, size_hw)


def _class_names(config: Config, training: bool) -> list[str]:
    """The labels of the task, in its order; where the file does not say them, those of all shapes, by the alphabet."""
    labels = ClassLabels()
    reader = _Reader(find_file(annotation_path(config, training), split_name(training)), labels, config.image_dir)
    if declared := reader.declared_names():
        return declared
    reader.images()
    return labels.found


def _holds(folder: Path) -> bool:
    for place in split_places(folder, "train"):
        for file in sorted(place.glob("*.xml"))[:1]:
            with file.open("rb") as opened:
                return b"<annotations" in opened.read(2000)
    return False


FORMAT = drawn_format(CvatDataset, _class_names, _holds)
