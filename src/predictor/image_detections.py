"""What was found in one image, for Python programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from src.data.masks import MaskPatch, decode_mask
from src.evaluation.predictions import coco_result, corners_of
from src.visual.pictures import LEAST_SIDE, draw_objects, save_picture

SHOWN_SCORE = 0.3  # least score of an object that is drawn, as of draw_predictions.py


class ImageDetections:
    """The objects of an image, best score first.

    Args:
        entry: what infer.py's JSON says of the image; see `src.evaluation.predictions.image_entry`.
        class_names: K names.
        category_ids: K ids of the data set; none: 1 to K.
        read_pixels: gives the image, uint8 [H, W, 3] RGB, to draw on.

    Attributes:
        height, width: of the image in pixels.
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels of the image.
        scores: float32 [N].
        labels: int32 [N], 0..K-1.
        names: N class names.
    """

    def __init__(
        self, entry: dict, class_names: list[str], category_ids: list[int], read_pixels: Callable[[], np.ndarray]
    ) -> None:
        self._entry = entry
        self._objects: list[dict] = entry["predictions"]
        self._class_names = class_names
        self._category_ids = category_ids or list(range(1, len(class_names) + 1))
        self._read_pixels = read_pixels
        self.height, self.width = int(entry["height"]), int(entry["width"])
        self.boxes = corners_of(self._objects).astype(np.float32)
        self.scores = np.array([found["score"] for found in self._objects], np.float32)
        self.labels = np.array([found["class"]["label"] for found in self._objects], np.int32)
        self.names: list[str] = [found["class"]["name"] for found in self._objects]

    def __len__(self) -> int:
        return len(self._objects)

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {score:.2f}" for name, score in zip(self.names, self.scores, strict=True))
        return f"ImageDetections({self.width}x{self.height}: {found or 'nothing'})"

    @cached_property
    def masks(self) -> np.ndarray | None:
        """Bool [N, height, width], the pixels of each object; None: the detector has no masks."""
        patches = self._patches
        if patches is None:
            return None
        bitmaps = [patch.bitmap(self.height, self.width) for patch in patches]
        return np.array(bitmaps, bool).reshape(-1, self.height, self.width)

    @cached_property
    def _patches(self) -> list[MaskPatch] | None:
        if not all("mask" in found for found in self._objects):
            return None
        return [decode_mask(found["mask"], self.height, self.width) for found in self._objects]

    def to_json(self) -> dict[str, Any]:
        """What infer.py writes for this image."""
        return self._entry

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results: image_id, category_id, bbox as x y width height, score and, with masks, segmentation.

        Category ids are those of the configuration (`category_ids`); where it has none, 1 to K in its order of classes.
        """
        ids = self._category_ids
        return [coco_result(found, image_id, ids[found["class"]["label"]]) for found in self._objects]

    def to_supervision(self) -> SupervisionDetections:
        """The fields of the package supervision's `Detections`, made without that package."""
        return SupervisionDetections(
            self.boxes, self.masks, self.scores, self.labels.astype(int), data={"class_name": np.array(self.names, str)}
        )

    def draw(
        self, path: str | Path | None = None, score_thr: float = SHOWN_SCORE, least_side: int = LEAST_SIDE
    ) -> np.ndarray:
        """The image with masks, boxes and names.

        Args:
            path: also write it there, as the suffix says (.png, .jpg).
            score_thr: least score of an object that is drawn.
            least_side: the longer side is enlarged to at least so many pixels, so that names are readable.

        Returns:
            uint8 [H', W', 3] RGB.
        """
        rows = np.flatnonzero(self.scores >= np.float32(score_thr)).tolist()
        masks = None if self._patches is None else [self._patches[row] for row in rows]
        picture = draw_objects(
            self._read_pixels(),
            self.boxes[rows],
            self.labels[rows].tolist(),
            self._class_names,
            self.scores[rows].tolist(),
            least_side=least_side,
            masks=masks,
        )
        if path is not None:
            save_picture(path, picture)
        return picture


@dataclass
class SupervisionDetections:
    """The fields, length and iteration of the package supervision's `Detections`.

    Annotators of boxes and masks take these as they are; `supervision.Detections(**vars(these))` is for the others.

    Attributes:
        xyxy: float32 [N, 4] in pixels.
        mask: bool [N, H, W], or None.
        confidence: float32 [N].
        class_id: int [N].
        tracker_id: None.
        data: {"class_name": N names}.
        metadata: nothing.
    """

    xyxy: np.ndarray
    mask: np.ndarray | None
    confidence: np.ndarray
    class_id: np.ndarray
    tracker_id: np.ndarray | None = None
    data: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.xyxy)

    def __iter__(self) -> Iterator[tuple]:
        """(xyxy, mask, confidence, class_id, tracker_id, data) of each object."""
        for i in range(len(self)):
            mask = None if self.mask is None else self.mask[i]
            data = {name: values[i] for name, values in self.data.items()}
            yield self.xyxy[i], mask, self.confidence[i], self.class_id[i], None, data
