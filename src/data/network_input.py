"""From an 8-bit RGB image to the network's input: resize, normalise, pad. One path for training and inference."""

from collections.abc import Sequence

import cv2
import numpy as np

from src.data.orientation import lies_across, oriented
from src.data.sample import Sample
from src.data.transforms import Resize, resized_hw
from src.schema import Config


class Normalizer:
    """Write (pixel - mean) / std, planar, into the top-left corner of a canvas; the rest of it becomes 0.

    A pixel has only 256 values, so each channel is one table look-up from bytes straight to its plane of the batch:
    about a tenth of the time of casting, subtracting, dividing, padding and transposing.

    Args:
        mean, std: three values each, in the order of the network's channels.
        to_rgb: the network's channels are RGB; else BGR.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_rgb: bool = True) -> None:
        values = np.arange(256, dtype=np.float64)
        self.tables = [((values - m) / s).astype(np.float32) for m, s in zip(mean, std, strict=True)]
        self.channel_order = (0, 1, 2) if to_rgb else (2, 1, 0)

    def write(self, image: np.ndarray, canvas: np.ndarray) -> None:
        """Fill `canvas` (float32 [3, H, W]) from `image` (uint8 [h, w, 3], RGB, h <= H, w <= W)."""
        height, width = image.shape[:2]
        planes = cv2.split(image)
        for out, table, channel in zip(canvas, self.tables, self.channel_order, strict=True):
            cv2.LUT(planes[channel], table, out[:height, :width])
            out[height:] = 0
            out[:height, width:] = 0


def image_info(sample: Sample) -> np.ndarray:
    """Sizes of an image for the network.

    Returns:
        float32 [6]: original height, width; resized height, width (before padding); scale y, x (resized / original).
    """
    return np.array([*sample.original_hw, *sample.image_hw, *sample.scale], np.float32)


class EvalTransform:
    """Image -> network input without augmentation.

    Args:
        target_hw: the image is resized into (keep_ratio) or onto this height and width.
        input_hw: height and width of the network's input, at least `target_hw`.
        keep_ratio: keep the aspect ratio.
        normalizer: pixel values.
        turns: height and width of both are exchanged for images that lie across `target_hw`.
    """

    def __init__(
        self,
        target_hw: tuple[int, int],
        input_hw: tuple[int, int],
        keep_ratio: bool,
        normalizer: Normalizer,
        turns: bool = False,
    ) -> None:
        self.resize = Resize(target_hw, keep_ratio)
        self.turning_hw = target_hw if turns else None
        self.input_hw = input_hw
        self.normalizer = normalizer

    @classmethod
    def from_config(cls, config: Config) -> "EvalTransform":
        """What the configuration says."""
        normalizer = Normalizer(config.img_mean, config.img_std, config.to_rgb)
        target_hw = (config.img_height, config.img_width)
        return cls(target_hw, config.input_hw, config.keep_ratio, normalizer, config.turn_frame)

    def info_of(self, original_hw: tuple[int, int]) -> np.ndarray:
        """The `image_info` of an image of this height and width, without its pixels."""
        target = oriented(self.resize.target_hw, lies_across(original_hw, self.turning_hw))
        size = resized_hw(*original_hw, target, self.resize.keep_ratio)
        scale = (new / old for new, old in zip(size, original_hw, strict=True))
        return np.array([*original_hw, *size, *scale], np.float32)

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Prepare one image.

        Args:
            image: uint8 [h, w, 3], RGB.

        Returns:
            (float32 [3, H, W], image_info float32 [6]); see `image_info`.
        """
        height, width = image.shape[:2]
        turned = lies_across((height, width), self.turning_hw)
        sample = self.resize(Sample(image, (height, width), turned=turned), np.random.default_rng(0))
        canvas = np.empty((3, *oriented(self.input_hw, turned)), np.float32)
        self.normalizer.write(sample.image, canvas)
        return canvas, image_info(sample)
