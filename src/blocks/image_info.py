"""`image_info`: an image's sizes, and the scale that takes it to the network's pixels. Imports no MindSpore.

float32 [6] of one image or [B,6] of a batch: original height, width; resized height, width (before padding); scale y, x
(resized / original). The accessors slice, so that they work on arrays and on tensors, in graphs too.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from mindspore import Tensor

Values = TypeVar("Values", np.ndarray, "Tensor")


def original_hw(image_info: Values) -> Values:
    """Height and width of the original image in its pixels: [...,2]."""
    return image_info[..., 0:2]


def resized_hw(image_info: Values) -> Values:
    """Height and width of the resized image in network pixels: [...,2]."""
    return image_info[..., 2:4]


def scale_yx(image_info: Values) -> Values:
    """Network pixels per original pixel along y and x: [...,2]."""
    return image_info[..., 4:6]
