"""Random changes of an image's colours as SSD makes them (Liu et al. 2016; ranges of its published configurations)."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from src.data.sample import Sample

BRIGHTNESS = 32.0  # added: up to this, of 255
CONTRAST = (0.5, 1.5)  # factors
SATURATION = (0.5, 1.5)
HUE = 18.0  # degrees
PART_PROBABILITY = 0.5

_VALUES = np.arange(256, dtype=np.float32)


class PhotometricDistortion:
    """Brightness, contrast, saturation and hue, each changed with a probability of one half.

    Brightness comes first, saturation and hue next; contrast before or after these two, at random. Pixels have
    256 values, so all that is done to them without looking at the other channels is one table; saturation and hue are a
    table in HSV, where 8 bits per channel cost half a step of 255 on average and about ten at most.

    Args:
        probability: how often an image is changed at all; SSD: 1.
        channel_probability: how often the three channels are put in another order as well; SSD's published models: 0.
    """

    def __init__(self, probability: float, channel_probability: float = 0.0) -> None:
        self.probability = probability
        self.channel_probability = channel_probability

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with other colours."""
        # Always as many numbers: what follows then does not depend on what was drawn here.
        distorts, shuffles, contrast_first, *parts = rng.random(7) < self._probabilities()
        numbers = rng.uniform(*_RANGES)
        order = rng.permutation(3)
        image = sample.image
        if distorts:
            image = _distorted(image, parts, numbers, contrast_first)
        if shuffles:
            image = cv2.merge([cv2.extractChannel(image, int(channel)) for channel in order])
        return sample if image is sample.image else replace(sample, image=image)

    def _probabilities(self) -> tuple[float, ...]:
        return (self.probability, self.channel_probability, 0.5, *[PART_PROBABILITY] * 4)


_RANGES = np.array([(-BRIGHTNESS, BRIGHTNESS), CONTRAST, SATURATION, (-HUE, HUE)]).T


def _distorted(image: np.ndarray, parts: Sequence[bool], numbers: np.ndarray, contrast_first: bool) -> np.ndarray:
    """The image with those of brightness, contrast, saturation, hue changed that `parts` says, by `numbers`."""
    delta, contrast, saturation, hue = np.where(parts, numbers, (0.0, 1.0, 1.0, 0.0))
    before = _bytes(_VALUES + delta)
    after = _bytes(_VALUES * contrast)
    if saturation == 1 and hue == 0:
        return _mapped(image, after[before])  # nothing lies between them
    if contrast_first:
        before, after = after[before], _bytes(_VALUES)
    image = cv2.cvtColor(_mapped(image, before), cv2.COLOR_RGB2HSV_FULL)
    hues = np.round(_VALUES + hue * 256 / 360).astype(np.int32) % 256  # in HSV_FULL the circle has 256 steps
    table = np.stack([hues.astype(np.uint8), _bytes(_VALUES * saturation), _bytes(_VALUES)], axis=1)[None]
    return _mapped(cv2.cvtColor(cv2.LUT(image, table), cv2.COLOR_HSV2RGB_FULL), after)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _mapped(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    return image if np.array_equal(table, _bytes(_VALUES)) else cv2.LUT(image, table)
