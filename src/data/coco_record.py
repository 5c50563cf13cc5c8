"""Records from COCO's image entries and annotations."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from src.common.errors import UserError
from src.data.masks import segmentation_fault
from src.data.reader_checks import box_numbers, clip_box
from src.data.record import Record
from src.data.stored_image import StoredImage


class CocoRecordMaker:
    """Makes one record per image, and notes which objects it leaves out.

    Args:
        category_ids: the data set's category id of each class, label 0 first.
        with_masks: keep the segmentations, leave out objects without a usable one.

    Attributes:
        problems: one line for each object left out, with the image's path.
        unusable_masks: what is wrong with each mask that cannot be used.
    """

    def __init__(self, category_ids: Sequence[int], with_masks: bool) -> None:
        self.problems: list[str] = []
        self.unusable_masks: list[str] = []
        self._label_of = {category_id: label for label, category_id in enumerate(category_ids)}
        self._with_masks = with_masks

    def record(self, image: str | StoredImage, entry: dict, annotations: Sequence[dict]) -> Record:
        """The record of an image.

        Args:
            image: its path, or where it is stored.
            entry: COCO's `id`, `height` and `width`.
            annotations: COCO's annotations of it, of known categories.
        """
        path = image if isinstance(image, str) else image.name
        height, width = int(entry["height"]), int(entry["width"])
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
            if self._with_masks and (fault := segmentation_fault(segmentation, height, width)):
                self.leave_out(path, annotation.get("id"), fault)
                continue
            boxes.append(box)
            labels.append(self._label_of[annotation["category_id"]])
            crowd.append(bool(annotation.get("iscrowd", 0)))
            masks.append(segmentation)
        return Record(
            image=image,
            height=height,
            width=width,
            image_id=entry["id"],
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            labels=np.array(labels, np.int32),
            crowd=np.array(crowd, bool),
            masks=masks if self._with_masks else None,
        )

    def leave_out(self, path: str, annotation_id: Any, fault: str) -> None:
        """Note an annotation whose mask cannot be used, and why."""
        self.unusable_masks.append(fault)
        self.problems.append(f"{path}: annotation {annotation_id} is left out: {fault}")

    def check_masks(self, records: Sequence[Record], source: object) -> None:
        """Raise a UserError when masks were asked for and not one object has any; `source` is named in the message."""
        if self.unusable_masks and not any(len(record.boxes) for record in records):
            raise UserError(
                f"{source}: no object has a mask ({len(self.unusable_masks)} annotations, the first: "
                f"{self.unusable_masks[0]}); a model with masks learns from polygons or RLE in 'segmentation': add "
                "them, or train a detector of boxes"
            )


def _clipped_box(box: Any, height: int, width: int) -> tuple[float, float, float, float] | None:
    """[x, y, w, h] -> (x1, y1, x2, y2) inside the image; None when nothing of it is left, or it is not a box."""
    try:
        x, y, w, h = box_numbers(box)
    except ValueError:
        return None
    return clip_box((x, y, x + w, y + h), height, width)
