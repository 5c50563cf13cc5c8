"""Geometry of images and boxes: small transforms of a sample, each drawing from an explicit generator.

A sample is a dict with
    image: uint8 [h, w, 3], RGB;
    boxes: float32 [G, 4], x1 y1 x2 y2 in pixels of `image`; labels: int32 [G]; crowd: bool [G];
    masks: list of G `MaskPatch` in pixels of the original image, or None: not read. Geometry leaves them as they are
        and changes `mapping`, so that an object's pixels are resampled once, at the end (see `mask_canvas`);
    mapping: (scale_x, offset_x, scale_y, offset_y): x in `image` = scale_x * original x + offset_x, and y likewise;
    original_hw: (height, width) before any transform; scale: (y, x), resized / original.
A transform takes (sample, rng) and returns a new sample; it never changes the arrays it was given.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from src.data.image import ImageError, load_image
from src.data.masks import MaskError, MaskPatch, decode_mask
from src.data.record import Record

Sample = dict[str, Any]
Mapping = tuple[float, float, float, float]
Transform = Callable[[Sample, np.random.Generator], Sample]

IDENTITY: Mapping = (1.0, 0.0, 1.0, 0.0)
MIN_VISIBLE_SIDE = 1.0  # pixels; an object of which a crop leaves less is no target


def read_sample(record: Record) -> Sample:
    """Decode a record's image and masks. Objects whose mask covers no pixel are left out. Raises ImageError."""
    image = load_image(record.image, (record.height, record.width))
    sample = {
        "image": image,
        "boxes": record.boxes,
        "labels": record.labels,
        "crowd": record.crowd,
        "masks": None if record.masks is None else _decode_masks(record),
        "mapping": IDENTITY,
        "original_hw": image.shape[:2],
        "scale": (1.0, 1.0),
    }
    if record.masks is None:
        return sample
    return select(sample, np.array([patch.pixels.size > 0 for patch in sample["masks"]], bool))


def _decode_masks(record: Record) -> list[MaskPatch]:
    """Patches of a record's objects, in their order. Raises ImageError with the object's number."""
    patches = []
    for number, segmentation in enumerate(record.masks, 1):
        try:
            patches.append(decode_mask(segmentation, record.height, record.width))
        except MaskError as error:
            raise ImageError(f"{record.name}: object {number} of {len(record.masks)}: {error}") from None
    return patches


def select(sample: Sample, keep: np.ndarray) -> Sample:
    """The sample with only the objects where `keep` (bool [G]) is true."""
    masks = sample["masks"]
    return {
        **sample,
        "boxes": sample["boxes"][keep],
        "labels": sample["labels"][keep],
        "crowd": sample["crowd"][keep],
        "masks": None if masks is None else [mask for mask, kept in zip(masks, keep, strict=True) if kept],
    }


def choose_targets(boxes: np.ndarray, crowd: np.ndarray, most: int) -> np.ndarray:
    """Indices (int [n], ascending) of the objects that are training targets: no crowds, of too many the largest."""
    chosen = np.flatnonzero(~crowd)
    if len(chosen) > most:
        areas = np.prod(boxes[chosen, 2:] - boxes[chosen, :2], axis=1)
        chosen = np.sort(chosen[np.argsort(-areas, kind="stable")[:most]])
    return chosen


def _then(mapping: Mapping, x: tuple[float, float] = (1.0, 0.0), y: tuple[float, float] = (1.0, 0.0)) -> Mapping:
    """The mapping followed by (scale, offset) along x and y."""
    scale_x, offset_x, scale_y, offset_y = mapping
    return scale_x * x[0], offset_x * x[0] + x[1], scale_y * y[0], offset_y * y[0] + y[1]


def resized_hw(height: int, width: int, target_hw: tuple[float, float], keep_ratio: bool) -> tuple[int, int]:
    """Size of an image resized into (keep_ratio) or stretched onto the target, at least 1 x 1."""
    target_height, target_width = target_hw
    if keep_ratio:
        factor = min(target_height / height, target_width / width)
        target_height, target_width = height * factor, width * factor
    return max(int(target_height + 0.5), 1), max(int(target_width + 0.5), 1)


class Resize:
    """Bilinear resize into (or, without keep_ratio, onto) a target times a random factor.

    Args:
        target_hw: height and width in pixels.
        keep_ratio: keep the aspect ratio: the image then fits within the target.
        ratio_range: the target is multiplied by a factor drawn uniformly from it; (1, 1): no jitter.
    """

    def __init__(self, target_hw: tuple[int, int], keep_ratio: bool, ratio_range: Sequence[float] = (1.0, 1.0)):
        self.target_hw = target_hw
        self.keep_ratio = keep_ratio
        self.ratio_range = tuple(ratio_range)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        low, high = self.ratio_range
        factor = rng.uniform(low, high) if low != high else low
        image = sample["image"]
        height, width = image.shape[:2]
        target = (self.target_hw[0] * factor, self.target_hw[1] * factor)
        new_height, new_width = resized_hw(height, width, target, self.keep_ratio)
        if (new_height, new_width) == (height, width):
            return sample
        y, x = new_height / height, new_width / width
        return {
            **sample,
            "image": cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR),
            "boxes": sample["boxes"] * np.array([x, y, x, y], np.float32),
            "mapping": _then(sample["mapping"], (x, 0.0), (y, 0.0)),
            "scale": (sample["scale"][0] * y, sample["scale"][1] * x),
        }


class RandomCrop:
    """Cut images larger than `size_hw` to a random window of that size; objects cut away are dropped."""

    def __init__(self, size_hw: tuple[int, int]):
        self.size_hw = size_hw

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image = sample["image"]
        height, width = (min(have, most) for have, most in zip(image.shape[:2], self.size_hw, strict=True))
        top = int(rng.integers(image.shape[0] - height + 1))
        left = int(rng.integers(image.shape[1] - width + 1))
        if (height, width) == image.shape[:2]:
            return sample
        return select(*crop(sample, left, top, left + width, top + height))


def crop(sample: Sample, left: int, top: int, right: int, bottom: int) -> tuple[Sample, np.ndarray]:
    """Cut the image to a window and the boxes with it.

    Returns:
        The sample with all its objects, and bool [G]: which of them can still be seen.
    """
    boxes = sample["boxes"] - np.array([left, top, left, top], np.float32)
    boxes = np.clip(boxes, 0, np.array([right - left, bottom - top] * 2, np.float32))
    cropped = {
        **sample,
        "image": sample["image"][top:bottom, left:right],
        "boxes": boxes,
        "mapping": _then(sample["mapping"], (1.0, -left), (1.0, -top)),
    }
    visible = np.min(boxes[:, 2:] - boxes[:, :2], axis=1, initial=np.inf) >= MIN_VISIBLE_SIDE
    return cropped, visible & _masks_inside(cropped)


def _masks_inside(sample: Sample) -> np.ndarray:
    """Bool [G]: whether the image still holds the centre of any pixel of each object's mask; true without masks."""
    if sample["masks"] is None:
        return np.ones(len(sample["boxes"]), bool)
    height, width = sample["image"].shape[:2]
    scale_x, offset_x, scale_y, offset_y = sample["mapping"]
    left, right = sorted(math.ceil((edge - offset_x) / scale_x - 0.5) for edge in (0, width))
    top, bottom = sorted(math.ceil((edge - offset_y) / scale_y - 0.5) for edge in (0, height))
    inside = []
    for patch in sample["masks"]:
        rows = slice(max(top - patch.top, 0), max(bottom - patch.top, 0))
        columns = slice(max(left - patch.left, 0), max(right - patch.left, 0))
        inside.append(patch.pixels[rows, columns].any())
    return np.array(inside, bool)


class RandomFlip:
    """Mirror left and right with a probability."""

    def __init__(self, probability: float):
        self.probability = probability

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.probability:
            return sample
        width = np.float32(sample["image"].shape[1])
        x1, y1, x2, y2 = sample["boxes"].T
        boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
        mapping = _then(sample["mapping"], (-1.0, float(width)))
        return {**sample, "image": cv2.flip(sample["image"], 1), "boxes": boxes, "mapping": mapping}


class RandomExpand:
    """Place the image somewhere on a larger canvas, with a probability: SSD's 'zoom out' (Liu et al. 2016, 3.6).

    Args:
        probability: how often; SSD: 0.5.
        fill: RGB colour of the canvas: the mean that normalisation subtracts.
        max_ratio: the canvas is larger by a factor drawn uniformly from 1 to this, in both directions.
    """

    def __init__(self, probability: float, fill: Sequence[float], max_ratio: float = 4.0):
        self.probability = probability
        self.fill = np.round(fill).tolist()
        self.max_ratio = max_ratio

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.probability:
            return sample
        image = sample["image"]
        height, width = image.shape[:2]
        ratio = rng.uniform(1.0, self.max_ratio)
        canvas_height, canvas_width = int(height * ratio), int(width * ratio)
        top = int(rng.integers(canvas_height - height + 1))
        left = int(rng.integers(canvas_width - width + 1))
        borders = (top, canvas_height - height - top, left, canvas_width - width - left)
        canvas = cv2.copyMakeBorder(image, *borders, cv2.BORDER_CONSTANT, value=self.fill)
        boxes = sample["boxes"] + np.array([left, top, left, top], np.float32)
        mapping = _then(sample["mapping"], (1.0, left), (1.0, top))
        return {**sample, "image": canvas, "boxes": boxes, "mapping": mapping}


def apply_transforms(sample: Sample, transforms: Sequence[Transform], rng: np.random.Generator) -> Sample:
    """Run the transforms one after the other."""
    for transform in transforms:
        sample = transform(sample, rng)
    return sample
