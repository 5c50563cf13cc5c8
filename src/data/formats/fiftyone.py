"""Read FiftyOne's own layout, FiftyOneImageDetectionDataset: labels.json and its images in data/."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from src.common.errors import UserError
from src.common.text import is_unicode, shown
from src.data.formats.api import DatasetFormat, annotation_path, split_name, training_subset
from src.data.formats.folders import require_existing, split_places
from src.data.formats.json_file import read_json, read_model
from src.data.formats.listed import ClassLabels, ListedDataset, ListedImage, ListedObject, size_or_nominal
from src.data.image_files import IMAGE_SUFFIXES
from src.data.reader_checks import FolderListings, check_unique, subset
from src.schema import Config

LABELS_NAME, IMAGES_NAME, MANIFEST_NAME = "labels.json", "data", "data.json"
_BEGINNING = re.compile(rb'\s*\{\s*"(classes|labels)"\s*:')  # COCO's files have neither key


class _Object(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    label: str | int  # a number counts in `classes`
    bounding_box: Annotated[list[float], Field(min_length=4, max_length=4)]
    attributes: dict[str, Any] = {}


class _File(BaseModel):
    model_config = ConfigDict(strict=True)

    classes: list[str] | None = None
    labels: dict[str, list[_Object] | None]


class FiftyOneDataset(ListedDataset):
    """The images of FiftyOne's labels.json.

    Crowds of COCO, which FiftyOne keeps as an attribute, become difficult objects.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        split: str = "train",
        images_dir: str | os.PathLike = "",
        category_ids: Sequence[int] = (),
        first: int = 0,
        every: int = 0,
    ) -> None:
        """Read the annotations; images are opened for their size alone.

        Args:
            path: labels.json, its folder, or one with a folder for each split.
            class_names: names of the foreground classes, in label order.
            split: "train" or "val".
            images_dir: folder of the images; empty: data/ beside labels.json, or as data.json says.
            category_ids: see `ListedDataset`.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.

        Raises:
            UserError: a file that is not FiftyOne's, or one of its entries; objects of other classes; no images.
        """
        file = find_file(Path(path), split)
        reader = _Reader(file, ClassLabels(class_names), images_dir)
        images = [reader.image(name) for name in subset(reader.image_names(), first, every)]
        check_unique((image.where, image.path) for image in images)
        super().__init__(file, images, class_names, category_ids)
        self.problems += reader.problems
        self.images_dir = Path(images_dir or file.parent / IMAGES_NAME)


def find_file(path: Path, split: str) -> Path:
    """The labels.json that a path stands for. Raises UserError."""
    require_existing(path, "FiftyOne's labels.json or its folder")
    if not path.is_dir():
        return path
    for folder in split_places(path, split):
        if (folder / LABELS_NAME).is_file():
            return folder / LABELS_NAME
    raise UserError(f"{path}: no {LABELS_NAME}, which FiftyOne exports as FiftyOneImageDetectionDataset")


def is_labels_file(path: Path) -> bool:
    """Whether a JSON file begins like FiftyOne's labels.json; COCO's annotations may have the same name."""
    try:
        with path.open("rb") as file:
            return _BEGINNING.match(file.read(256)) is not None
    except OSError:
        return False


class _Reader:
    """Reads the `ListedImage`s of one file."""

    def __init__(self, path: Path, labels: ClassLabels, images_dir: str | os.PathLike) -> None:
        self._path = path
        self._labels = labels
        self._file = read_model(path, _File, f"FiftyOne's {LABELS_NAME}")
        self._folder = Path(images_dir or path.parent / IMAGES_NAME)
        manifest = path.parent / MANIFEST_NAME
        self._manifest: dict[str, str] = {}
        if not images_dir and not self._folder.is_dir() and manifest.is_file():
            self._manifest = _manifest(manifest)
        self._listings = FolderListings()
        self.problems: list[str] = []

    def image_names(self) -> list[str]:
        """The images by their path without suffix, in the order of the file; raises a UserError without any."""
        if not self._file.labels:
            raise UserError(f"{self._path}: labels names no images")
        for name in self._file.labels:
            if not name or "\0" in name or not is_unicode(name):
                raise UserError(f"{self._path}: {shown(name)} is not the name of an image")
        return list(self._file.labels)

    def class_names(self) -> list[str]:
        """`classes`, or the labels of all objects in alphabetical order."""
        if self._file.classes is not None:
            return self._file.classes
        return sorted({str(one.label) for objects in self._file.labels.values() for one in objects or ()})

    def image(self, name: str) -> ListedImage:
        path = self._image_path(name)
        size_hw = size_or_nominal(path, self._listings, self.problems)
        where = f"{self._path}: {shown(name)}"
        return ListedImage(where, path, size_hw, list(self._objects(where, name, size_hw)))

    def _image_path(self, name: str) -> str:
        if name in self._manifest:
            return os.path.normpath(self._path.parent / self._manifest[name])
        base = os.path.normpath(self._folder / name)
        choices = [base + suffix for end in IMAGE_SUFFIXES for suffix in (end, end.upper())]
        return next((choice for choice in choices if choice in self._listings), choices[0])

    def _objects(self, where: str, name: str, size_hw: tuple[int, int]) -> Iterator[ListedObject]:
        height, width = size_hw
        for number, one in enumerate(self._file.labels[name] or ()):
            place = f"{where}[{number}]"
            x, y, w, h = one.bounding_box
            corners = (x * width, y * height, (x + w) * width, (y + h) * height)
            left_out = bool(one.attributes.get("iscrowd") or one.attributes.get("difficult"))
            yield ListedObject(place, self._labels.of(place, self._name(place, one.label)), corners, left_out)

    def _name(self, where: str, label: str | int) -> str:
        classes = self._file.classes
        if isinstance(label, str) or classes is None:
            return str(label)
        if not 0 <= label < len(classes):
            raise UserError(f"{where}: label {label} is none of the {len(classes)} classes, which count from 0")
        return classes[label]


def _manifest(path: Path) -> dict[str, str]:
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(one, str) and "\0" not in one for one in found.values()):
        raise UserError(f"{path}: not FiftyOne's list of images, an object with a path for each name")
    return found


def _class_names(config: Config, training: bool) -> list[str]:
    file = find_file(annotation_path(config, training), split_name(training))
    return _Reader(file, ClassLabels(), config.image_dir).class_names()


def _open_split(config: Config, training: bool, with_masks: bool) -> FiftyOneDataset:
    del with_masks  # the layout has none
    return FiftyOneDataset(
        annotation_path(config, training),
        config.class_names,
        split_name(training),
        config.image_dir,
        config.category_ids,
        *training_subset(config, training),
    )


def _open_path(path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> FiftyOneDataset:
    return FiftyOneDataset(path, class_names, "val", images_dir, category_ids)


def _holds(folder: Path) -> bool:
    return any(is_labels_file(place / LABELS_NAME) for place in split_places(folder, "train"))


FORMAT = DatasetFormat("anno_path", False, _open_split, _open_path, class_names=_class_names, holds=_holds)
