"""Boxes from network pixels to pixels of the original image, on the host and in graphs."""

import numpy as np
from mindspore import Tensor, ops

from src.blocks.image_info import original_hw, resized_hw, scale_yx


def clip_to_resized(boxes: np.ndarray, image_info: np.ndarray) -> np.ndarray:
    """Boxes [...,M,4] in network pixels, cut at the edges of the resized image; image_info [...,6]."""
    return np.clip(boxes, 0, _corners(resized_hw(image_info)))


def to_original_pixels(boxes: np.ndarray, image_info: np.ndarray) -> np.ndarray:
    """Boxes [...,M,4] in network pixels -> in pixels of the original image, inside it; image_info [...,6]."""
    return np.clip(boxes / _corners(scale_yx(image_info)), 0, _corners(original_hw(image_info)))


def _corners(pairs: np.ndarray) -> np.ndarray:
    """(y, x) [...,2] -> (x, y, x, y) float32 [...,1,4]."""
    return pairs[..., None, [1, 0, 1, 0]].astype(np.float32)


def width_height(height_width: Tensor) -> Tensor:
    """(height, width) [B,2] -> (width, height) [B,2], in a graph."""
    return ops.stack((height_width[:, 1], height_width[:, 0]), 1)


def graph_clip_to_resized(boxes: Tensor, image_info: Tensor) -> Tensor:
    """`clip_to_resized` of boxes [B,M,4] in a graph."""
    return _graph_clip(boxes, resized_hw(image_info))


def graph_to_original_pixels(boxes: Tensor, image_info: Tensor) -> Tensor:
    """`to_original_pixels` of boxes [B,M,4] in a graph."""
    return _graph_clip(boxes / _graph_corners(scale_yx(image_info)), original_hw(image_info))


def _graph_clip(boxes: Tensor, height_width: Tensor) -> Tensor:
    return ops.minimum(ops.maximum(boxes, 0.0), _graph_corners(height_width))


def _graph_corners(pairs: Tensor) -> Tensor:
    """(y, x) [B,2] -> (x, y, x, y) [B,1,4]."""
    pair = width_height(pairs).expand_dims(1)
    return ops.concat((pair, pair), 2)
