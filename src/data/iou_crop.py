"""SSD's random crop: a window that overlaps some object by a chosen amount (Liu et al. 2016, 2.2)."""

from collections.abc import Sequence

import numpy as np

from src.data.sample import Sample, select
from src.data.transforms import crop

MIN_OVERLAPS = (0.1, 0.3, 0.5, 0.7, 0.9)
TRIALS = 50  # windows drawn for each constraint


class MinIoURandomCrop:
    """Cut out a window that overlaps at least one object by a random least IoU, and keep the objects centred in it.

    One of these is chosen, each as likely as the others among those that a window was found for: the whole image; a
    window of an IoU of at least 0.1, 0.3, 0.5, 0.7 or 0.9 with some object; any window. That is how SSD's published
    implementation reads the paper's "minimum overlap with the objects". A window has 0.3 to 1 of the image's side
    (geometric mean of both directions), an aspect ratio, relative to the image's, of 1/2 to 2, and the centre of at
    least one object in it. Crowds have no say. Images without objects stay whole.

    Args:
        probability: how often any of this is done; SSD: 1.
        min_overlaps: the constraints.
        scale: range of the window's side, relative to the image.
        aspect: range of the window's aspect ratio.
    """

    def __init__(
        self,
        probability: float,
        min_overlaps: Sequence[float] = MIN_OVERLAPS,
        scale: tuple[float, float] = (0.3, 1.0),
        aspect: tuple[float, float] = (0.5, 2.0),
    ) -> None:
        self.probability = probability
        self.constraints: tuple[float | None, ...] = (None, *min_overlaps, 0.0)  # None: the whole image
        self.scale, self.aspect = scale, aspect

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample, or a window of it."""
        window = self.window(sample, rng) if rng.random() < self.probability else None
        if window is None:
            return sample
        cropped, visible = crop(sample, *window)
        left, top, right, bottom = window
        x, y = _centers(sample.boxes).T
        return select(cropped, visible & (x > left) & (x < right) & (y > top) & (y < bottom))

    def window(self, sample: Sample, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
        """Left, top, right, bottom of a window in whole pixels; None: the whole image."""
        boxes = sample.boxes[~sample.crowd]
        if not len(boxes):
            return None
        # The first constraint in a random order that a window meets is a random one of all that some window meets.
        for index in rng.permutation(len(self.constraints)):
            if (least := self.constraints[index]) is None:
                return None
            windows = self._draw(sample.image_hw, rng)
            fits = _fits(windows, boxes, least)
            if fits.any():
                left, top, right, bottom = windows[np.argmax(fits)].tolist()
                return left, top, right, bottom
        return None

    def _draw(self, image_hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Windows int64 [TRIALS, 4]."""
        scale = rng.uniform(*self.scale, TRIALS)
        # Neither side may exceed the image's.
        lowest, highest = np.maximum(self.aspect[0], scale**2), np.minimum(self.aspect[1], 1 / scale**2)
        stretch = np.sqrt(rng.uniform(lowest, highest))
        image = np.array(image_hw[::-1])
        size = np.round(np.stack([scale * stretch, scale / stretch], axis=1) * image).astype(np.int64)
        size = np.clip(size, 1, image)
        start = rng.integers(0, image - size, endpoint=True)
        return np.concatenate([start, start + size], axis=1)


def _fits(windows: np.ndarray, boxes: np.ndarray, least: float) -> np.ndarray:
    """Whether each window has an IoU of `least` with some object, and the centre of one inside, bool [T]."""
    start = np.maximum(windows[:, None, :2], boxes[:, :2])
    sides = np.maximum(np.minimum(windows[:, None, 2:], boxes[:, 2:]) - start, 0)
    intersection = sides[..., 0] * sides[..., 1]
    areas = [np.prod(corners[:, 2:] - corners[:, :2], axis=1) for corners in (windows, boxes)]
    iou = intersection / (areas[0][:, None] + areas[1] - intersection)
    centers = _centers(boxes)
    centered = ((centers > windows[:, None, :2]) & (centers < windows[:, None, 2:])).all(axis=2)
    return (iou >= least).any(axis=1) & centered.any(axis=1)


def _centers(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
