"""What is written: images with their objects, and where they go.

A new format to write is one file with a `SplitWriter` and one line in `table.py`.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from src.common.atomic import writing
from src.data.detection_dataset import DetectionDataset
from src.data.masks import Segmentation, segmentation_fault
from src.data.reader_checks import box_numbers, clip_box

Box = tuple[float, float, float, float]
Placing = Literal["link", "copy"]


@dataclass(frozen=True)
class WrittenObject:
    """An object.

    Attributes:
        label: 0..K-1.
        box: x1, y1, x2, y2 in pixels, inside the image.
        mask: COCO's segmentation; None: a box alone.
        crowd: COCO's flag.
        difficult: Pascal VOC's flag.
    """

    label: int
    box: Box
    mask: Segmentation | None = None
    crowd: bool = False
    difficult: bool = False


@dataclass(frozen=True)
class WrittenImage:
    """An image: its path, size in pixels, the data set's id of it, and its objects."""

    path: str
    height: int
    width: int
    image_id: int
    objects: list[WrittenObject] = field(default_factory=list)


@dataclass
class WrittenSplit:
    """One split of a data set.

    Attributes:
        name: train or val.
        images: those that are there.
        class_names: names of the foreground classes, in label order.
        category_ids: id of each class.
        problems: one line for each thing that the format cannot hold, or that was left out.
    """

    name: str
    images: list[WrittenImage]
    class_names: list[str]
    category_ids: list[int]
    problems: list[str] = field(default_factory=list)


SplitWriter = Callable[[WrittenSplit, Path, "ImagePlacer"], Path]
"""Writes a split below a folder, which may hold another split, and returns what `train_dataset` would name."""


def split_of(dataset: DetectionDataset, name: str) -> WrittenSplit:
    """All images of a data set that are there, with all their usable objects."""
    split = WrittenSplit(name, [], list(dataset.class_names), list(dataset.category_ids), list(dataset.problems))
    content = dataset.coco_annotations()
    label_of = {category_id: label for label, category_id in enumerate(dataset.category_ids)}
    members: dict[int, list[dict]] = {}
    for annotation in content["annotations"]:
        members.setdefault(annotation["image_id"], []).append(annotation)
    for record in dataset.records:
        image = WrittenImage(record.name, record.height, record.width, record.image_id)
        split.images.append(image)
        for annotation in members.get(record.image_id, ()):
            if (one := _object_of(annotation, image, label_of)) is not None:
                image.objects.append(one)
    return split


def _object_of(annotation: dict, image: WrittenImage, label_of: dict[int, int]) -> WrittenObject | None:
    """An annotation in COCO's form; None where its box cannot be used, which the reader has noted."""
    try:
        x, y, width, height = box_numbers(annotation.get("bbox"))
    except ValueError:
        return None
    box = clip_box((x, y, x + width, y + height), image.height, image.width)
    if box is None:
        return None
    mask = annotation.get("segmentation")
    return WrittenObject(
        label_of[annotation["category_id"]],
        box,
        None if segmentation_fault(mask, image.height, image.width) else mask,
        bool(annotation.get("iscrowd", 0)),
        bool(annotation.get("difficult", 0)),
    )


class ImagePlacer:
    """Puts images into a written data set, each under a name of its own.

    Args:
        placing: link: hard links, which other programs take for files of their own, or symbolic ones where the file
            system or the owner does not allow them; copy: copies.
    """

    def __init__(self, placing: Placing = "link") -> None:
        self._placing = placing
        self._taken: set[tuple[str, str]] = set()

    def place(self, source: str, folder: Path) -> Path:
        """Put an image into a folder; its name may get a number, since names without suffix must differ."""
        path = Path(source)
        stem, number = path.stem, 1
        while (str(folder), stem) in self._taken:
            number += 1
            stem = f"{path.stem}_{number}"
        self._taken.add((str(folder), stem))
        target = folder / f"{stem}{path.suffix}"
        with writing(target):
            folder.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            if self._placing == "copy":
                shutil.copyfile(path, target)
                return target
            try:
                target.hardlink_to(path.resolve())
            except OSError:
                target.symlink_to(os.path.relpath(path.resolve(), folder.resolve()))
        return target


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8; raises a UserError where the system refuses it."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="surrogateescape")


def leave_out_crowds(image: WrittenImage, split: WrittenSplit) -> Sequence[WrittenObject]:
    """The objects that are no crowds, which few formats know; those are noted."""
    if crowds := sum(one.crowd for one in image.objects):
        split.problems.append(f"{image.path}: {crowds} crowds are left out: the format has none")
    return [one for one in image.objects if not one.crowd]
