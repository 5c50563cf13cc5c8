"""Read YOLO data sets: a data.yaml with class names and splits, and a text file of boxes or polygons per image."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from src.common.errors import UserError
from src.common.text import shortened, shown
from src.common.yaml_values import YamlError, parse_yaml
from src.data.formats.api import DatasetFormat, annotation_path, split_name, training_subset
from src.data.formats.folders import SPLIT_FOLDERS
from src.data.formats.listed import ListedDataset, ListedImage, ListedObject, size_or_nominal
from src.data.formats.shapes import polygon_object
from src.data.image_files import find_images
from src.data.reader_checks import FolderListings, check_unique, subset
from src.schema import Config

STANDARD_NAME = "data.yaml"
ROUNDING = 0.01  # coordinates may be so far outside of 0 to 1
BOX_NUMBERS = 4
LEAST_POLYGON = 6  # numbers

Name = str | int | float


class _DataFile(BaseModel):
    """The keys of a data.yaml that say something about the data; tools write many others."""

    model_config = ConfigDict(strict=True)

    names: list[Name] | dict[int, Name]
    path: str = ""
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    nc: int | None = None
    kpt_shape: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None


@dataclass(frozen=True)
class YoloFile:
    """A data.yaml.

    Attributes:
        path: of it.
        class_names: number n of the label files is class_names[n].
        images: what holds the images of each split, "train" and "val": folders and lists.
        has_keypoints: whether lines have key points after the box.
    """

    path: Path
    class_names: list[str]
    images: dict[str, list[Path]]
    has_keypoints: bool


class YoloDataset(ListedDataset):
    """The images of a split, those without objects included: they have an empty label file, or none.

    The labels of `images/a/b.jpg` are in `labels/a/b.txt`, or beside the image. A line is a class, counted from 0, and
    numbers that are shares of the image's width and height: the centre, width and height of a box, or the x and y of
    three and more points of a polygon.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        split: str = "train",
        with_masks: bool = False,
        category_ids: Sequence[int] = (),
        first: int = 0,
        every: int = 0,
    ) -> None:
        """Read the labels; of the images, only the headers.

        Args:
            path: data.yaml, or its folder.
            class_names: names of the foreground classes, in label order; all those of data.yaml.
            split: "train" or "val".
            with_masks: keep the polygons; see `ListedDataset`.
            category_ids: see `ListedDataset`.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.

        Raises:
            UserError: a file or a line that cannot be read, other classes than `class_names`, no images.
        """
        file = read_data_file(path)
        if sorted(file.class_names) != sorted(class_names):
            raise UserError(
                f"{file.path}: its names are {file.class_names}, coco_classes has {list(class_names)} (background "
                "apart); set coco_classes to 'background' and the names, or leave it out"
            )
        listed = list(_listed(file, split))
        check_unique(listed)
        reader = _LabelReader(file, class_names)
        images = [reader.read(where, image) for where, image in subset(listed, first, every)]
        super().__init__(file.path, images, class_names, category_ids, with_masks)
        self.problems += reader.problems
        self.images_dir = file.path.parent


def read_data_file(path: str | os.PathLike) -> YoloFile:
    """A data.yaml, checked. Raises UserError."""
    path = _data_file(Path(path))
    try:
        values = parse_yaml(path.read_text(encoding="utf-8-sig"))
        content = _DataFile.model_validate(values)
    except OSError as error:
        raise UserError(f"{path}: cannot read it ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8; a YOLO data set has a {STANDARD_NAME}") from None
    except YamlError as error:
        raise UserError(f"{path}{f', line {error.line}' if error.line else ''}: not valid YAML ({error})") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = f"{first['loc'][0]} is {shown(first['input'])}" if first["loc"] else "it holds no keys"
        raise UserError(
            f"{path}: {shortened(what)}: {first['msg'].lower()}; a {STANDARD_NAME} has names, train and val"
        ) from None
    names = _names(path, content)
    images = {split: _split_paths(path, content, split) for split in ("train", "val")}
    return YoloFile(path, names, images, content.kpt_shape is not None)


def _data_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / STANDARD_NAME).is_file():
        return path / STANDARD_NAME
    found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    if len(found) != 1:
        there = ", ".join(one.name for one in found) or "no YAML file"
        raise UserError(f"{path}: has no {STANDARD_NAME}, but {there}; give the file that names classes and splits")
    return found[0]


def _names(path: Path, content: _DataFile) -> list[str]:
    names = content.names
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise UserError(f"{path}: names has the numbers {shown(sorted(names))}; they must be 0, 1, 2, ...")
        names = [names[number] for number in range(len(names))]
    texts = [str(name) for name in names]
    if not texts:
        raise UserError(f"{path}: names is empty; it lists the classes")
    if twice := next((name for name in texts if texts.count(name) > 1), None):
        raise UserError(f"{path}: names has {shown(twice)} more than once")
    if content.nc not in (None, len(texts)):
        raise UserError(f"{path}: nc is {content.nc}, but names has {len(texts)}")
    return texts


def _split_paths(path: Path, content: _DataFile, split: str) -> list[Path]:
    """What a split's key names, below the key `path` or beside the file."""
    given = content.train if split == "train" else content.val
    entries = [given] if isinstance(given, str) else given or []
    if not entries:  # some tools name no split
        folders = [f"images/{name}" for name in SPLIT_FOLDERS[split]] + (["images"] if split == "train" else [])
        entries = [name for name in folders if (path.parent / name).is_dir()][:1]
    roots = [path.parent / content.path, path.parent]
    return [_found(entry, roots) for entry in entries]


def _found(entry: str, roots: Sequence[Path]) -> Path:
    """The first place where a relative path leads to something; some tools write one `../` too many."""
    choices = [root / name for name in (entry, entry.removeprefix("../")) for root in roots]
    try:
        return next((choice for choice in choices if choice.exists()), choices[0])
    except (OSError, ValueError):  # longer than names may be, or with a NUL
        return choices[0]


def _listed(file: YoloFile, split: str) -> Iterator[tuple[str, str]]:
    """(where it is named, path) of each image of a split, in order."""
    if not file.images[split]:
        raise UserError(f"{file.path}: has no {split}: the images of this split")
    for source in file.images[split]:
        if source.suffix == ".txt":
            yield from _in_list(source, file.path)
            continue
        try:
            found = find_images(source, recursive=True, key=f"{file.path}: {split}")
        except (OSError, ValueError) as error:
            raise UserError(f"{file.path}: {split} {shown(str(source))} is no folder of images ({error})") from None
        yield from ((str(source), str(image)) for image in found)


def _in_list(source: Path, origin: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = source.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{origin}: cannot read the list {shown(str(source))} ({error})") from None
    for number, line in enumerate(lines, 1):
        if name := line.strip():
            if "\0" in name:
                raise UserError(f"{source}, line {number}: {shown(name)} is not the name of a file")
            yield f"{source}, line {number}", os.path.normpath(source.parent / name)


class _LabelReader:
    """Reads label files into `ListedImage`s."""

    def __init__(self, file: YoloFile, class_names: Sequence[str]) -> None:
        self._file = file
        self._labels = [list(class_names).index(name) for name in file.class_names]
        self._listings = FolderListings()
        self.problems: list[str] = []

    def read(self, where: str, image: str) -> ListedImage:
        path = self._label_path(image)
        size_hw = size_or_nominal(image, self._listings, self.problems)
        objects = [] if path is None else list(self._objects(path, size_hw))
        return ListedImage(where, image, size_hw, objects)

    def _label_path(self, image: str) -> str | None:
        stem = image.rpartition(".")[0]
        head, middle, tail = stem.rpartition(f"{os.sep}images{os.sep}")
        choices = [f"{head}{os.sep}labels{os.sep}{tail}.txt"] if middle else []
        return next((path for path in [*choices, f"{stem}.txt"] if path in self._listings), None)

    def _objects(self, path: str, size_hw: tuple[int, int]) -> Iterator[ListedObject]:
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
        except OSError as error:
            raise UserError(f"{path}: cannot read the labels ({error.strerror})") from None
        except UnicodeDecodeError:
            raise UserError(f"{path}: not a text file in UTF-8; it has a line of numbers per object") from None
        for number, line in enumerate(lines, 1):
            if words := line.split():
                yield self._object(f"{path}, line {number}", words, size_hw)

    def _object(self, where: str, words: list[str], size_hw: tuple[int, int]) -> ListedObject:
        try:
            class_number, *numbers = map(float, words)
            label = self._labels[int(class_number)] if 0 <= class_number == int(class_number) else None
        except IndexError:
            label = None
        except (ValueError, OverflowError):
            raise UserError(f"{where}: '{shortened(' '.join(words))}' is not a class and numbers") from None
        if label is None:
            raise UserError(
                f"{where}: class {words[0][:20]} is none of the {len(self._labels)} names of {self._file.path}, which "
                "count from 0"
            )
        if self._file.has_keypoints:
            numbers = numbers[:BOX_NUMBERS]
        if len(numbers) != BOX_NUMBERS and (len(numbers) < LEAST_POLYGON or len(numbers) % 2):
            raise UserError(
                f"{where}: {len(numbers)} numbers after the class; a box has {BOX_NUMBERS} (centre, width, height), a "
                f"polygon x and y of at least {LEAST_POLYGON // 2} points"
            )
        if not all(-ROUNDING <= value <= 1 + ROUNDING for value in numbers):
            raise UserError(
                f"{where}: '{shortened(' '.join(words))}' has a coordinate outside of 0 to 1; they are shares of the "
                "image's width and height"
            )
        height, width = size_hw
        if len(numbers) > BOX_NUMBERS:
            points = [(x * width, y * height) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            return polygon_object(where, label, points)
        x, y, w, h = numbers
        corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
        return ListedObject(where, label, corners)


def _open_split(config: Config, training: bool, with_masks: bool) -> YoloDataset:
    path = annotation_path(config, training)
    first, every = training_subset(config, training)
    return YoloDataset(path, config.class_names, split_name(training), with_masks, config.category_ids, first, every)


def _open_path(path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> YoloDataset:
    del images_dir  # data.yaml says it
    return YoloDataset(path, class_names, "val", category_ids=category_ids)


def _class_names(config: Config, training: bool) -> list[str]:
    return read_data_file(annotation_path(config, training)).class_names


def _holds(folder: Path) -> bool:
    try:
        read_data_file(folder)
    except UserError:
        return (folder / STANDARD_NAME).is_file()
    return True


FORMAT = DatasetFormat("anno_path", True, _open_split, _open_path, class_names=_class_names, holds=_holds)
