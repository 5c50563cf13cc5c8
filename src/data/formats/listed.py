"""What data sets without COCO annotations share: images in a list, their objects, ground truth in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.common.text import shortened
from src.data.coco_ground_truth import coco_ground_truth
from src.data.image import ImageError
from src.data.image_size import image_size
from src.data.masks import Segmentation, segmentation_fault
from src.data.reader_checks import FolderListings, clip_box
from src.data.record import Record

LONGEST_SIDE = 1e9  # pixels
NOMINAL_SIDE = 640  # pixels, of an image that is missing or broken: its objects count in evaluation all the same


class ClassLabels:
    """The labels of class names: those of `coco_classes`, or of whatever names are found.

    Args:
        class_names: names of the foreground classes, in label order; None: any, which are collected.
    """

    def __init__(self, class_names: Sequence[str] | None = None) -> None:
        self._grows = class_names is None
        self._label_of = {name: label for label, name in enumerate(class_names or ())}

    def of(self, where: str, name: str) -> int:
        """The label of an object's class; raises a UserError, which begins with `where`, for one of another class."""
        if name not in self._label_of:
            if not self._grows:
                raise UserError(
                    f"{where}: object '{shortened(name)}' is not one of the {len(self._label_of)} "
                    f"classes of coco_classes: {list(self._label_of)}"
                )
            self._label_of[name] = len(self._label_of)
        return self._label_of[name]

    @property
    def found(self) -> list[str]:
        """All names so far, in alphabetical order."""
        return sorted(self._label_of)


@dataclass
class ListedObject:
    """An object as its annotation gives it.

    Attributes:
        where: file and line, for messages.
        label: 0..K-1.
        corners: x1, y1, x2, y2 in pixels of the image, 0-based, x2 and y2 exclusive; not clipped.
        difficult: Pascal VOC's flag.
        mask: COCO's segmentation, where the annotation has one.
    """

    where: str
    label: int
    corners: tuple[float, float, float, float]
    difficult: bool = False
    mask: Segmentation | None = None


@dataclass
class ListedImage:
    """An image as its annotation gives it; `where` is file and line, size_hw None where it is not said."""

    where: str
    path: str
    size_hw: tuple[int, int] | None = None
    objects: list[ListedObject] = field(default_factory=list)


class ListedDataset:
    """Records of listed images, a `DetectionDataset`.

    Image ids are 1, 2, ... in the order of the list.

    Attributes:
        records, class_names, category_ids, annotation_file, problems, missing_images: see `DetectionDataset`.
        voc_metrics: whether evaluation reports the mean AP of Pascal VOC beside COCO's.
    """

    voc_metrics = False

    def __init__(
        self,
        annotation_file: Path,
        images: Sequence[ListedImage],
        class_names: Sequence[str],
        category_ids: Sequence[int],
        with_masks: bool = False,
    ) -> None:
        """Make the records; images are looked up, and opened only where their size is not known.

        Args:
            annotation_file: what messages and predictions call the data set.
            images: in order.
            class_names: names of the foreground classes, in label order.
            category_ids: the data set's id of each class; empty: 1, 2, ...
            with_masks: keep the masks in `records`, and leave out objects without one.

        Raises:
            UserError: masks are asked for, and no object has any.
        """
        self.annotation_file = annotation_file
        self.class_names = list(class_names)
        self.category_ids = list(category_ids) or list(range(1, len(class_names) + 1))
        self.problems: list[str] = []
        listings = FolderListings()
        self.missing_images = [image.path for image in images if image.path not in listings]
        self.problems += [f"{one.path}: missing; {one.where} names it" for one in images if one.path not in listings]
        self._all = [self._record(image, number, listings) for number, image in enumerate(images, 1)]
        there = [record for record, image in zip(self._all, images, strict=True) if image.path in listings]
        self.records = [self._with_masks(record) if with_masks else replace(record, masks=None) for record in there]
        if with_masks and not any(len(record.boxes) for record in self.records) and any(len(r.boxes) for r in there):
            raise UserError(
                f"{annotation_file}: no object has a mask; a model with masks learns from polygons: add them, or "
                "train a detector of boxes"
            )
        self._note_absent_classes()

    def __len__(self) -> int:
        return len(self.records)

    def coco_annotations(self) -> dict:
        """The ground truth as a COCO annotation file would hold it, missing images included."""
        return coco_ground_truth(self._all, self.class_names, self.category_ids)

    def _record(self, image: ListedImage, number: int, listings: FolderListings) -> Record:
        height, width = image.size_hw or self._size(image, listings)
        boxes, kept = [], []
        for one in image.objects:
            box = clip_box(one.corners, height, width)
            if box is None:
                shown = ", ".join(f"{value:g}" for value in one.corners)
                self.problems.append(
                    f"{one.where}: box {shown} is empty or outside the image {image.path} ({width}x{height}); skipped"
                )
            else:
                boxes.append(box)
                kept.append(one)
        return Record(
            image=image.path,
            height=height,
            width=width,
            image_id=number,
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array([one.label for one in kept], np.int32),
            crowd=np.zeros(len(kept), bool),
            masks=[self._usable_mask(one, height, width) for one in kept],
            difficult=np.array([one.difficult for one in kept], bool),
        )

    def _usable_mask(self, one: ListedObject, height: int, width: int) -> Segmentation | None:
        fault = None if one.mask is None else segmentation_fault(one.mask, height, width)
        if fault:
            self.problems.append(f"{one.where}: {fault}; its box alone is used")
        return None if fault else one.mask

    def _with_masks(self, record: Record) -> Record:
        """A record without the objects that have no mask."""
        masks = list(record.masks or ())
        keep = np.array([mask is not None for mask in masks], bool)
        if lacking := int(np.count_nonzero(~keep)):
            self.problems.append(f"{record.name}: {lacking} of {len(keep)} objects have no mask and are left out")
        return select_objects(record, keep)

    def _size(self, image: ListedImage, listings: FolderListings) -> tuple[int, int]:
        """(height, width) of the file; for one that is missing or broken, which loaders report, what its boxes need."""
        try:
            if image.path in listings:
                return image_size(image.path)
        except ImageError as error:
            self.problems.append(str(error))
        corners = np.array([one.corners for one in image.objects], np.float64).reshape(-1, 4)
        corners = corners[(np.abs(corners) < LONGEST_SIDE).all(axis=1)]  # others are no boxes
        return max(int(corners[:, 3].max(initial=1)), 1), max(int(corners[:, 2].max(initial=1)), 1)

    def _note_absent_classes(self) -> None:
        present = {int(label) for record in self._all for label in record.labels}
        absent = [name for label, name in enumerate(self.class_names) if label not in present]
        if absent:
            self.problems.append(f"{self.annotation_file}: no object of {', '.join(absent)}; is coco_classes right?")


def select_objects(record: Record, keep: np.ndarray) -> Record:
    """A record with those of its objects for which `keep`, bool [G], holds."""
    return replace(
        record,
        boxes=record.boxes[keep],
        labels=record.labels[keep],
        crowd=record.crowd[keep],
        masks=None if record.masks is None else [record.masks[index] for index in np.flatnonzero(keep).tolist()],
        difficult=None if record.difficult is None else record.difficult[keep],
    )


def size_or_nominal(image: str, listings: FolderListings, problems: list[str]) -> tuple[int, int]:
    """(height, width) of an image whose objects are shares of them; what is wrong with it goes to `problems`."""
    try:
        if image in listings:
            return image_size(image)
    except ImageError as error:
        problems.append(str(error))
    return NOMINAL_SIDE, NOMINAL_SIDE
