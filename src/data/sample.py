"""What the transforms take and give: an image with its objects, on its way to the network."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from src.data.image import USUAL_RULES, ImageError, ImageRules, load_image
from src.data.masks import MaskError, MaskPatch, decode_mask
from src.data.record import Record

Mapping = tuple[float, float, float, float]

IDENTITY: Mapping = (1.0, 0.0, 1.0, 0.0)


@dataclass(slots=True)
class Sample:
    """An image and its objects. A transform makes a new one and never changes the arrays of the one it was given.

    Attributes:
        image: uint8 [h, w, 3], RGB.
        original_hw: (height, width) in pixels before any transform.
        boxes: float32 [G, 4], x1 y1 x2 y2 in pixels of `image`.
        labels: int32 [G], 0..K-1.
        crowd: bool [G].
        masks: G patches in pixels of the original image; None: not read. Geometry leaves them as they are and changes
            `mapping`, so that an object's pixels are resampled once, at the end (see `mask_canvas`).
        mapping: (scale_x, offset_x, scale_y, offset_y): x in `image` = scale_x * original x + offset_x, and y likewise.
        scale: (y, x), resized / original.
        turned: whether the frame that it is resized into is turned by 90 degrees.
        canvases: uint8 [G, S, S], what `DrawMasks` makes of the masks; None: not drawn.
    """

    image: np.ndarray
    original_hw: tuple[int, int]
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    masks: list[MaskPatch] | None = None
    mapping: Mapping = IDENTITY
    scale: tuple[float, float] = (1.0, 1.0)
    turned: bool = False
    canvases: np.ndarray | None = None

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of `image` in pixels."""
        height, width = self.image.shape[:2]
        return height, width


def read_sample(record: Record, turned: bool = False, rules: ImageRules = USUAL_RULES) -> Sample:
    """Decode a record's image and masks. Objects whose mask covers no pixel are left out. Raises ImageError."""
    image = load_image(record.image, (record.height, record.width), rules)
    height, width = image.shape[:2]
    sample = Sample(image, (height, width), record.boxes, record.labels, record.crowd, turned=turned)
    if record.masks is None:
        return sample
    sample.masks = _decode_masks(record, record.masks)
    return select(sample, np.array([patch.pixels.size > 0 for patch in sample.masks], bool))


def _decode_masks(record: Record, segmentations: Sequence[list | dict]) -> list[MaskPatch]:
    """Patches of a record's objects, in their order. Raises ImageError with the object's number."""
    patches: list[MaskPatch] = []
    try:
        for segmentation in segmentations:
            patches.append(decode_mask(segmentation, record.height, record.width))  # noqa: PERF401  counted below
    except MaskError as error:
        number = len(patches) + 1
        raise ImageError(f"{record.name}: object {number} of {len(segmentations)}: {error}") from None
    return patches


def select(sample: Sample, keep: np.ndarray) -> Sample:
    """The sample with only the objects where `keep` (bool [G]) is true."""
    masks = sample.masks
    return replace(
        sample,
        boxes=sample.boxes[keep],
        labels=sample.labels[keep],
        crowd=sample.crowd[keep],
        masks=None if masks is None else [mask for mask, kept in zip(masks, keep, strict=True) if kept],
    )


def choose_targets(boxes: np.ndarray, crowd: np.ndarray, most: int) -> np.ndarray:
    """Indices (int [n], ascending) of the objects that are training targets: no crowds, of too many the largest."""
    chosen = np.flatnonzero(~crowd)
    if len(chosen) > most:
        areas = np.prod(boxes[chosen, 2:] - boxes[chosen, :2], axis=1)
        chosen = np.sort(chosen[np.argsort(-areas, kind="stable")[:most]])
    return chosen
