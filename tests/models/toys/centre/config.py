"""Keys of the toy detector."""

from collections.abc import Iterator
from typing import Literal

from src.models.api import Problem
from src.schema import Config
from src.schema.sections import Fraction, PositiveInt, Section, key


class CentreHeadConfig(Section):
    """Keys of its head."""

    channels: PositiveInt = key(16, "channels of each convolution of the toy")
    stride: Literal[4, 8, 16] = key(8, "pixels per cell of the toy")


class CentreTestConfig(Section):
    """Keys of its post-processing."""

    score_thr: Fraction = key(0.05, "least score of a detection")
    iou_threshold: Fraction = key(0.5, "a box of the same class with a larger IoU is dropped")
    max_per_img: PositiveInt = key(20, "most detections of an image")


class CentreConfig(Config):
    """An experiment with the toy detector."""

    detector: Literal["centre"] = key("centre", "which detector")
    bbox_head: CentreHeadConfig = key(CentreHeadConfig(), "head of the toy")
    test_cfg: CentreTestConfig = key(CentreTestConfig(), "post-processing")


def check(config: CentreConfig) -> Iterator[Problem]:
    """Contradictions between the keys."""
    for name, side in zip(("img_height", "img_width"), config.input_hw, strict=True):
        if side % config.bbox_head.stride:
            yield name, f"gives an input of {side} pixels, which the stride {config.bbox_head.stride} does not divide"
