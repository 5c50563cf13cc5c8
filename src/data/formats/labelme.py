"""Read labelme's annotations: a JSON file per image, with polygons, rectangles, circles and masks."""

import base64
import io
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from src.common.errors import UserError
from src.common.text import is_unicode, shown
from src.data.formats.api import annotation_path, split_name
from src.data.formats.drawn import drawn_format
from src.data.formats.folders import require_existing, split_places
from src.data.formats.json_file import read_model
from src.data.formats.listed import ClassLabels, ListedDataset, ListedImage, ListedObject
from src.data.formats.shapes import bounds_of, ellipse_points, joined_groups, polygon_object, window_object
from src.data.image import MOST_PIXELS
from src.data.image_files import IMAGE_SUFFIXES
from src.data.reader_checks import FolderListings, check_unique, subset
from src.schema import Config

NO_OBJECTS = ("line", "linestrip", "point", "points")

Side = Annotated[int, Field(gt=0, lt=2**31)]
Point = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    label: str
    points: list[Point]
    shape_type: str | None = None  # early versions have polygons alone
    group_id: int | str | None = None
    mask: str | None = None


class _File(BaseModel):
    """What is read of a file; the image inside (`imageData`) is not: the one that `imagePath` names is."""

    model_config = ConfigDict(strict=True)

    shapes: list[_Shape]
    image_path: str = Field(alias="imagePath", min_length=1)
    height: Side | None = Field(None, alias="imageHeight")
    width: Side | None = Field(None, alias="imageWidth")


class LabelmeDataset(ListedDataset):
    """The images of labelme's JSON files.

    A rectangle is an object without a mask. Shapes of one label and group are the parts of one object. Lines and points
    are no objects, and are left out.
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
            path: the folder of the JSON files, or one with a folder for each split.
            class_names: names of the foreground classes, in label order.
            split: "train" or "val".
            with_masks: keep the masks; see `ListedDataset`.
            images_dir: folder that `imagePath` is relative to; empty: that of the JSON file.
            category_ids: see `ListedDataset`.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.

        Raises:
            UserError: a folder without JSON files, a file that is not labelme's, objects of other classes.
        """
        folder, files = find_files(Path(path), split)
        reader = _Reader(ClassLabels(class_names), images_dir)
        images = [reader.read(file) for file in subset(files, first, every)]
        check_unique((image.where, image.path) for image in images)
        super().__init__(folder, images, class_names, category_ids, with_masks)
        self.problems += reader.problems
        self.images_dir = Path(images_dir or folder)


def find_files(path: Path, split: str) -> tuple[Path, list[Path]]:
    """The folder of a split's JSON files, and the files. Raises UserError where there are none."""
    require_existing(path, "the folder of labelme's JSON files")
    for folder in split_places(path, split):
        if files := sorted(folder.glob("*.json")):
            return folder, files
    if path.is_file():
        return path.parent, [path]
    raise UserError(f"{path}: no JSON file in this folder; labelme writes one per image")


class _Reader:
    """Reads JSON files into `ListedImage`s."""

    def __init__(self, labels: ClassLabels, images_dir: str | os.PathLike) -> None:
        self._labels = labels
        self._images_dir = images_dir
        self._listings = FolderListings()
        self.problems: list[str] = []

    def read(self, path: Path) -> ListedImage:
        file = _parsed(path)
        size_hw = None if file.height is None or file.width is None else (file.height, file.width)
        found = []
        for number, shape in enumerate(file.shapes):
            where = f"{path}: shapes[{number}]"
            one = self._object(where, shape, size_hw)
            if one is None:
                self.problems.append(f"{where}: a {shown(shape.shape_type)} is no object; left out")
            else:
                found.append((one, shape.group_id))
        return ListedImage(str(path), self._image_path(path, file.image_path), size_hw, joined_groups(found))

    def _image_path(self, path: Path, named: str) -> str:
        """The image that the file names, else the one of the file's own name beside it."""
        name = named.replace("\\", "/")  # annotated on Windows
        if "\0" in name or not is_unicode(name):
            raise UserError(f"{path}: imagePath {shown(named)} is not the name of a file")
        folder = Path(self._images_dir or path.parent)
        choices = [folder / name, folder / name.rpartition("/")[2]]
        choices += [folder / f"{path.stem}{suffix}" for suffix in IMAGE_SUFFIXES]
        paths = [os.path.normpath(choice) for choice in choices]
        return next((choice for choice in paths if choice in self._listings), paths[0])

    def _object(self, where: str, shape: _Shape, size_hw: tuple[int, int] | None) -> ListedObject | None:
        if shape.shape_type in NO_OBJECTS:
            return None
        points = [(x, y) for x, y in shape.points]
        label = self._labels.of(where, shape.label)
        match shape.shape_type:
            case "polygon" | None if len(points) >= 3:
                return polygon_object(where, label, points)
            case "rectangle" if len(points) in (2, 4):
                return ListedObject(where, label, bounds_of(points))
            case "oriented_rectangle" if len(points) == 4:
                return polygon_object(where, label, points)
            case "circle" if len(points) == 2:
                (x, y), edge = points
                radius = math.dist((x, y), edge)
                return polygon_object(where, label, ellipse_points(x, y, radius, radius))
            case "mask" if len(points) == 2 and shape.mask and size_hw:
                return _mask_object(where, label, points, shape.mask, size_hw)
        raise UserError(
            f"{where}: a {shown(shape.shape_type)} of {len(points)} points is not one of labelme's shapes: polygon (3 "
            "and more), rectangle (2), circle (2), mask (2, with its pixels and the image's size)"
        )


def _parsed(path: Path) -> _File:
    return read_model(path, _File, "an annotation of labelme's")


def _mask_object(where: str, label: int, points: list, text: str, size_hw: tuple[int, int]) -> ListedObject:
    """An object from the PNG of its mask, whose corners are the points."""
    x1, y1, x2, y2 = bounds_of(points)
    try:
        left, top = int(x1), int(y1)
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"]) as image:
            width, height = image.size
            if (width, height) != (int(x2) + 1 - left, int(y2) + 1 - top):
                raise ValueError(f"it has {width} x {height} pixels, its corners are {points}")
            if (
                width * height > MOST_PIXELS
                or left < 0
                or top < 0
                or left + width > size_hw[1]
                or top + height > size_hw[0]
            ):
                raise ValueError("it reaches beyond the image")
            pixels = np.asarray(image.convert("L")) > 0
    except (ValueError, OSError, SyntaxError, EOFError, OverflowError) as error:
        raise UserError(f"{where}: its mask cannot be used ({shown(str(error))})") from None
    return window_object(where, label, pixels, left, top, size_hw)


def _class_names(config: Config, training: bool) -> list[str]:
    """The labels of all shapes, in alphabetical order."""
    labels = ClassLabels()
    reader = _Reader(labels, config.image_dir)
    for file in find_files(annotation_path(config, training), split_name(training))[1]:
        reader.read(file)
    return labels.found


def _first_files(folder: Path) -> Iterator[Path]:
    for place in split_places(folder, "train"):
        yield from sorted(place.glob("*.json"))[:1]


def _holds(folder: Path) -> bool:
    try:
        return any(_parsed(file) for file in _first_files(folder))
    except UserError:
        return False


FORMAT = drawn_format(LabelmeDataset, _class_names, _holds)
