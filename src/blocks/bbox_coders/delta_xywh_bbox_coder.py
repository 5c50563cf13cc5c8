"""Boxes as shifts and log scales of reference boxes (R-CNN, appendix C; mmdetection's DeltaXYWHBBoxCoder)."""

import math
from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops


class DeltaXYWHBBoxCoder(nn.Cell):
    """Encodes boxes x1 y1 x2 y2 as (dx, dy, dw, dh) relative to reference boxes, normalized by means and stds.

    Args:
        target_means: subtracted from the deltas.
        target_stds: the deltas are divided by these.
        wh_ratio_clip: decoded sides change by at most this factor and its inverse.
        log_epsilon: added to ratios of sides before their logarithm is taken; 0 in nearly all published networks.
    """

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        wh_ratio_clip: float = 16 / 1000,
        log_epsilon: float = 0.0,
    ) -> None:
        super().__init__()
        self.means_array = np.asarray(target_means, np.float32)
        self.stds_array = np.asarray(target_stds, np.float32)
        self.means = Tensor(self.means_array)
        self.stds = Tensor(self.stds_array)
        self.max_log_ratio = abs(math.log(wh_ratio_clip))
        self.log_epsilon = log_epsilon

    def encode(self, references: Tensor, boxes: Tensor) -> Tensor:
        """Deltas from references [...,4] to boxes [...,4]; both must have positive sides. Shapes broadcast."""
        reference_size = references[..., 2:] - references[..., :2]
        size = boxes[..., 2:] - boxes[..., :2]
        reference_centre = (references[..., 2:] + references[..., :2]) * 0.5
        centre = (boxes[..., 2:] + boxes[..., :2]) * 0.5
        ratio = size / reference_size
        if self.log_epsilon > 0:
            ratio = ratio + self.log_epsilon
        deltas = ops.concat(((centre - reference_centre) / reference_size, ops.log(ratio)), -1)
        return (deltas - self.means) / self.stds

    def decode(self, references: Tensor, deltas: Tensor, max_size: Tensor | None = None) -> Tensor:
        """Boxes [...,4] of deltas.

        Args:
            references: x1 y1 x2 y2 [...,4].
            deltas: [...,4].
            max_size: width and height [...,2] that the boxes are clipped to; None: no clipping.
        """
        deltas = deltas * self.stds + self.means
        reference_size = references[..., 2:] - references[..., :2]
        reference_centre = (references[..., 2:] + references[..., :2]) * 0.5
        centre = reference_centre + deltas[..., :2] * reference_size
        half = reference_size * ops.exp(ops.clamp(deltas[..., 2:], -self.max_log_ratio, self.max_log_ratio)) * 0.5
        low, high = centre - half, centre + half
        if max_size is not None:
            low = ops.minimum(ops.maximum(low, 0.0), max_size)
            high = ops.minimum(ops.maximum(high, 0.0), max_size)
        return ops.concat((low, high), -1)

    def decode_numpy(self, references: np.ndarray, deltas: np.ndarray) -> np.ndarray:
        """`decode` on the host, without clipping: float32 [N,4] and [N,4] -> [N,4]."""
        deltas = deltas * self.stds_array + self.means_array
        reference_size = references[:, 2:] - references[:, :2]
        reference_centre = (references[:, 2:] + references[:, :2]) * np.float32(0.5)
        centre = reference_centre + deltas[:, :2] * reference_size
        limit = np.float32(self.max_log_ratio)
        half = reference_size * np.exp(np.clip(deltas[:, 2:], -limit, limit)) * np.float32(0.5)
        return np.concatenate([centre - half, centre + half], axis=1)
