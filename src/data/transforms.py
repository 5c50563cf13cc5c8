"""Geometry of images and boxes: small transforms of a `Sample`, each drawing from an explicit generator."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from src.data.orientation import oriented
from src.data.sample import Mapping, Sample, select

Transform = Callable[[Sample, np.random.Generator], Sample]


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

    Sizes are those of mmdetection's RandomResize: the target times the factor is cut to whole pixels, and the image is
    resized by what then fits.

    Args:
        target_hw: height and width in pixels; exchanged for a sample whose frame is turned.
        keep_ratio: keep the aspect ratio: the image then fits within the target.
        ratio_range: the target is multiplied by a factor drawn uniformly from it; (1, 1): no jitter.
    """

    def __init__(self, target_hw: tuple[int, int], keep_ratio: bool, ratio_range: Sequence[float] = (1.0, 1.0)) -> None:
        self.target_hw = target_hw
        self.keep_ratio = keep_ratio
        self.ratio_range = tuple(ratio_range)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The resized sample."""
        low, high = self.ratio_range
        factor = rng.uniform(low, high) if low != high else low
        height, width = sample.image_hw
        target_height, target_width = oriented(self.target_hw, sample.turned)
        target = (int(target_height * factor), int(target_width * factor))
        new_height, new_width = resized_hw(height, width, target, self.keep_ratio)
        if (new_height, new_width) == (height, width):
            return sample
        y, x = new_height / height, new_width / width
        return replace(
            sample,
            image=cv2.resize(sample.image, (new_width, new_height), interpolation=cv2.INTER_LINEAR),
            boxes=sample.boxes * np.array([x, y, x, y], np.float32),
            mapping=_then(sample.mapping, (x, 0.0), (y, 0.0)),
            scale=(sample.scale[0] * y, sample.scale[1] * x),
        )


class RandomCrop:
    """Cut images larger than `size_hw` to a random window of that size; objects cut away are dropped.

    As mmdetection's RandomCrop of an absolute size: each place of the window is as likely as the others, boxes are
    clipped to it, and an object stays that has any part inside. What then has no object is the loader's concern.

    Args:
        size_hw: height and width in pixels; exchanged for a sample whose frame is turned.
    """

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.size_hw = size_hw

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The window of the sample."""
        image_height, image_width = sample.image_hw
        most_height, most_width = oriented(self.size_hw, sample.turned)
        height, width = min(image_height, most_height), min(image_width, most_width)
        top = int(rng.integers(image_height - height + 1))
        left = int(rng.integers(image_width - width + 1))
        if (height, width) == sample.image_hw:
            return sample
        return select(*crop(sample, left, top, left + width, top + height))


def crop(sample: Sample, left: int, top: int, right: int, bottom: int) -> tuple[Sample, np.ndarray]:
    """Cut the image to a window and the boxes with it.

    Returns:
        The sample with all its objects, and bool [G]: which of them have a part inside.
    """
    offset: np.ndarray = np.array([left, top, left, top], np.float32)
    boxes = np.clip(sample.boxes - offset, 0, np.array([right - left, bottom - top] * 2, np.float32))
    cropped = replace(
        sample,
        image=sample.image[top:bottom, left:right],
        boxes=boxes,
        mapping=_then(sample.mapping, (1.0, -left), (1.0, -top)),
    )
    visible = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return cropped, visible & _masks_inside(cropped)


def _masks_inside(sample: Sample) -> np.ndarray:
    """Whether the image still holds the centre of any pixel of each object's mask, bool [G]; true without masks."""
    if sample.masks is None:
        return np.ones(len(sample.boxes), bool)
    height, width = sample.image_hw
    scale_x, offset_x, scale_y, offset_y = sample.mapping
    left, right = sorted(math.ceil((edge - offset_x) / scale_x - 0.5) for edge in (0, width))
    top, bottom = sorted(math.ceil((edge - offset_y) / scale_y - 0.5) for edge in (0, height))
    inside = []
    for patch in sample.masks:
        rows = slice(max(top - patch.top, 0), max(bottom - patch.top, 0))
        columns = slice(max(left - patch.left, 0), max(right - patch.left, 0))
        inside.append(patch.pixels[rows, columns].any())
    return np.array(inside, bool)


class RandomFlip:
    """Mirror left and right with a probability."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, or its mirror image."""
        if rng.random() >= self.probability:
            return sample
        width = np.float32(sample.image.shape[1])
        x1, y1, x2, y2 = sample.boxes.T
        boxes = np.stack([width - x2, y1, width - x1, y2], axis=1)
        mapping = _then(sample.mapping, (-1.0, float(width)))
        return replace(sample, image=cv2.flip(sample.image, 1), boxes=boxes, mapping=mapping)


class RandomExpand:
    """Place the image somewhere on a larger canvas, with a probability: SSD's 'zoom out' (Liu et al. 2016, 3.6).

    Args:
        probability: how often; SSD: 0.5.
        fill: RGB colour of the canvas: the mean that normalisation subtracts.
        max_ratio: the canvas is larger by a factor drawn uniformly from 1 to this, in both directions.
    """

    def __init__(self, probability: float, fill: Sequence[float], max_ratio: float = 4.0) -> None:
        self.probability = probability
        self.fill = np.round(fill).tolist()
        self.max_ratio = max_ratio

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, or the sample on a larger canvas."""
        if rng.random() >= self.probability:
            return sample
        height, width = sample.image_hw
        ratio = rng.uniform(1.0, self.max_ratio)
        canvas_height, canvas_width = int(height * ratio), int(width * ratio)
        top = int(rng.integers(canvas_height - height + 1))
        left = int(rng.integers(canvas_width - width + 1))
        borders = (top, canvas_height - height - top, left, canvas_width - width - left)
        canvas = cv2.copyMakeBorder(sample.image, *borders, cv2.BORDER_CONSTANT, value=self.fill)
        boxes = sample.boxes + np.array([left, top, left, top], np.float32)
        mapping = _then(sample.mapping, (1.0, left), (1.0, top))
        return replace(sample, image=canvas, boxes=boxes, mapping=mapping)


def apply_transforms(sample: Sample, transforms: Sequence[Transform], rng: np.random.Generator) -> Sample:
    """Run the transforms one after the other."""
    for transform in transforms:
        sample = transform(sample, rng)
    return sample
