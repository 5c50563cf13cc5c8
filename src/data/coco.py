"""Read COCO-format annotations into records, mapping categories by name."""

import gc
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic_core import from_json

from src.data.coco_layout import find_annotation_file, find_images_dir
from src.data.masks import segmentation_fault
from src.data.record import Record
from src.model_utils.errors import UserError

MIN_BOX_SIDE = 1e-3  # pixels; a box that is thinner after clipping to its image is no box


class CocoDataset:
    """A COCO-format data set: one record an image, images without objects included.

    Attributes:
        records: list of `Record`, in the order of the annotation file.
        class_names: names of the foreground classes; label k is `class_names[k]`.
        category_ids: the data set's own category ids, in class order.
        annotation_file, images_dir: what was found (`Path`).
        problems: one line for each thing that was skipped or mended, with its path.
        missing_images: paths of images that the annotations name and the folder lacks (left out of `records`).
    """

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: list[str],
        split: str = "train",
        with_masks: bool = False,
        first: int = 0,
        every: int = 0,
    ):
        """Read the annotations; images are only looked up, not opened.

        Args:
            path: see `find_annotation_file`.
            class_names: names of the foreground classes, in label order.
            split: "train" or "val".
            with_masks: keep the segmentations (they take most of the memory), leave out objects without a usable one.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.

        Raises:
            UserError: files that are not found or not valid, categories that differ from `class_names`, double ids;
                with_masks: none of the objects has a segmentation.
        """
        self.annotation_file = find_annotation_file(path, split)
        self.class_names = list(class_names)
        self.problems: list[str] = []
        self._unusable_masks: list[str] = []
        with _without_garbage_collection():
            self._read(first, every, with_masks)

    def _read(self, first: int, every: int, with_masks: bool) -> None:
        content = _read_json(self.annotation_file)
        self.category_ids = self._map_categories(content["categories"])
        self._label_of = {category_id: label for label, category_id in enumerate(self.category_ids)}
        images = self._check_images(content["images"])
        kept = images[: first or None][:: every or 1]
        self.images_dir = find_images_dir(self.annotation_file, (image["file_name"] for image in images))
        annotations = self._group(content["annotations"], {image["id"] for image in images})
        present, self.missing_images = self._look_up(kept)
        self.records = [self._record(image, annotations.get(image["id"], ()), with_masks) for image in present]
        if self._unusable_masks and not any(len(record.boxes) for record in self.records):
            raise UserError(
                f"{self.annotation_file}: no object has a mask ({len(self._unusable_masks)} annotations, the first: "
                f"{self._unusable_masks[0]}); a model with masks learns from polygons or RLE in 'segmentation': add "
                "them, or train a detector of boxes"
            )

    def __len__(self) -> int:
        return len(self.records)

    def _map_categories(self, categories: list[dict]) -> list[int]:
        """The annotations' category ids in class order."""
        names = [str(category["name"]) for category in categories]
        if sorted(names) != sorted(self.class_names):
            lacking = [name for name in self.class_names if name not in names]
            beyond = [name for name in names if name not in self.class_names]
            twice = [name for name, count in Counter(names).items() if count > 1]
            raise UserError(
                f"{self.annotation_file}: its {len(names)} categories differ from the {len(self.class_names)} classes "
                f"of coco_classes (background apart): only in coco_classes {lacking}, only in the annotations {beyond}"
                + (f", more than once {twice}" if twice else "")
                + f"; coco_classes {self.class_names}, annotations {names}; set coco_classes to 'background' and the "
                f"annotations' names, and num_classes to {len(set(names)) + 1}"
            )
        by_name = {str(category["name"]): category["id"] for category in categories}
        return [by_name[name] for name in self.class_names]

    def _check_images(self, images: list[dict]) -> list[dict]:
        """Images in file order; double ids and impossible entries are errors."""
        if not images:
            raise UserError(f"{self.annotation_file}: names no images")
        for image in images:
            if not isinstance(image.get("id"), int):
                raise UserError(f"{self.annotation_file}: image {image} has no whole number as id")
            lacking = [name for name in ("file_name", "height", "width") if not image.get(name)]
            if lacking:
                raise UserError(f"{self.annotation_file}: image {image['id']} lacks {' and '.join(lacking)}")
        _check_unique(self.annotation_file, "image", [image["id"] for image in images])
        return images

    def _group(self, annotations: list[dict], image_ids: set) -> dict[int, list[dict]]:
        """Annotations of each image; those of unknown images are skipped and counted, unknown categories an error."""
        _check_unique(self.annotation_file, "annotation", [a["id"] for a in annotations if a.get("id") is not None])
        known = set(self.category_ids)
        groups = defaultdict(list)
        stray = []
        for annotation in annotations:
            if annotation.get("category_id") not in known:
                raise UserError(
                    f"{self.annotation_file}: annotation {annotation.get('id')} has category_id "
                    f"{annotation.get('category_id')}, which its categories lack (they are {sorted(known)})"
                )
            if annotation.get("image_id") not in image_ids:
                stray.append(annotation.get("image_id"))
            else:
                groups[annotation["image_id"]].append(annotation)
        if stray:
            self.problems.append(
                f"{self.annotation_file}: {len(stray)} annotations of images that it does not list were skipped "
                f"(the first: image_id {stray[0]})"
            )
        return groups

    def _look_up(self, images: list[dict]) -> tuple[list[dict], list[str]]:
        """Images whose file is there, and the paths of the others. One listing a folder: a stat a file is slow."""
        listings: dict[str, set[str]] = {}
        present, missing = [], []
        for image in images:
            folder, name = os.path.split(os.path.join(self.images_dir, image["file_name"]))
            if folder not in listings:
                listings[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
            if name in listings[folder]:
                present.append(image)
            else:
                missing.append(os.path.join(folder, name))
                self.problems.append(f"{missing[-1]}: missing; {self.annotation_file} names it")
        return present, missing

    def _record(self, image: dict, annotations: list[dict], with_masks: bool) -> Record:
        path = os.path.join(self.images_dir, image["file_name"])
        height, width = int(image["height"]), int(image["width"])
        boxes, labels, crowd, masks = [], [], [], []
        for annotation in annotations:
            box = _clipped_box(annotation.get("bbox"), height, width)
            if box is None:
                self.problems.append(
                    f"{path}: box {annotation.get('bbox')} of annotation {annotation.get('id')} is empty, not a box or "
                    f"outside the image ({width}x{height}); skipped"
                )
                continue
            segmentation = annotation.get("segmentation")
            if with_masks and (fault := segmentation_fault(segmentation, height, width)):
                self._unusable_masks.append(fault)
                self.problems.append(f"{path}: annotation {annotation.get('id')} is left out: {fault}")
                continue
            boxes.append(box)
            labels.append(self._label_of[annotation["category_id"]])
            crowd.append(bool(annotation.get("iscrowd", 0)))
            masks.append(segmentation)
        return Record(
            image=path,
            height=height,
            width=width,
            image_id=image["id"],
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array(labels, np.int32),
            crowd=np.array(crowd, bool),
            masks=masks if with_masks else None,
        )


def _read_json(path: Path) -> dict:
    """The annotation file, with its three lists checked to be there."""
    try:
        content = _parse(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8; give a COCO annotation file (.json)") from None
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise UserError(f"{path}: no list '{name}'; a COCO annotation file has images, annotations and categories")
    return content


def _parse(text: bytes) -> object:
    """JSON value of a text, several times faster than json.loads."""
    try:
        return from_json(text, cache_strings="keys")
    except ValueError:
        return json.loads(text)  # for its line and column, and for what only it accepts


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Millions of containers are made while reading, none of them garbage, and each collection would visit them all."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _check_unique(path: Path, what: str, ids: list) -> None:
    if len(set(ids)) != len(ids):
        twice = next(value for value, count in Counter(ids).items() if count > 1)
        raise UserError(f"{path}: {what} id {twice} is used more than once; ids must be unique")


def _clipped_box(box: list | None, height: int, width: int) -> tuple[float, ...] | None:
    """[x, y, w, h] -> (x1, y1, x2, y2) inside the image; None when nothing of it is left."""
    try:
        x, y, w, h = (float(value) for value in box)
    except (TypeError, ValueError):
        return None
    if not all(map(math.isfinite, (x, y, w, h))):
        return None
    x1, x2 = max(x, 0.0), min(x + w, float(width))
    y1, y2 = max(y, 0.0), min(y + h, float(height))
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= MIN_BOX_SIDE else None
