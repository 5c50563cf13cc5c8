"""RoIAlign of MindSpore's own operators: for Ascend, where the project's kernels are not."""

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

# Samples along each side of a bin in place of adaptive sampling, which ops.ROIAlign lacks (it returns NaN). On its own
# level an RoI is at most 28 pixels long (the coarsest apart): bins of at most four pixels when there are seven.
SAMPLES_FOR_ADAPTIVE = 4


class StandardRoIAlign(nn.Cell):
    """The interface of RoIAlign by `ops.ROIAlign`, which pools every RoI on every level; the others' are masked.

    Differences from RoIAlign, measured on the CPU against tests/oracles/roi_align.npz and on four levels:

    - fixed sampling: below 1e-5 of the largest value;
    - adaptive sampling, replaced by SAMPLES_FOR_ADAPTIVE samples: root mean square 1 % of the values' deviation on
      features smoothed over two pixels, 5 % over one, 26 % on white noise (7 x 7 bins; 14 x 14: 1, 3 and 13 %);
    - `aligned` RoIs shorter than a pixel of their level: taken for one pixel long; without size: not zero.

    Args: as RoIAlign.
    """

    def __init__(
        self, output_size: int, strides: Sequence[float], sampling_ratio: int, aligned: bool, finest_scale: float
    ) -> None:
        super().__init__()
        samples = sampling_ratio or SAMPLES_FOR_ADAPTIVE
        # roi_end_mode 1 ends boxes a pixel after x2, y2, which is taken off before. Mode 0 ends them there, but its
        # gradient is mode 1's.
        self.pools = [ops.ROIAlign(output_size, output_size, 1 / stride, samples, 1) for stride in strides]
        self.half_pixels = [0.5 * stride if aligned else 0.0 for stride in strides]
        self.is_coordinate = Tensor([0, 1, 1, 1, 1], ms.float32)
        self.is_end = Tensor([0, 0, 0, 1, 1], ms.float32)
        self.finest_scale = finest_scale

    def construct(self, levels: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """levels, a tuple of [B,C,Hl,Wl], and rois [R,5] -> [R,C,o,o]."""
        if len(self.pools) == 1:
            return self._pool(0, levels[0], rois)
        chosen = self._levels_of(rois)
        pooled = 0.0
        for level in range(len(self.pools)):
            is_own = chosen == level
            # An RoI of no size costs no more than one of a pixel, and stays inside the map.
            own = ops.where(is_own.reshape(-1, 1), rois, ops.zeros_like(rois))
            values = self._pool(level, levels[level], own)
            pooled = pooled + values * is_own.reshape(-1, 1, 1, 1).astype(values.dtype)
        return pooled

    def _pool(self, level: int, features: Tensor, rois: Tensor) -> Tensor:
        return self.pools[level](features, rois - self.half_pixels[level] * self.is_coordinate - self.is_end)

    def _levels_of(self, rois: Tensor) -> Tensor:
        """Index of the level of each RoI [R], as a float: how often its scale doubles the finest one."""
        area = (rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])
        scale = ops.sqrt(ops.maximum(area, 0.0)) / self.finest_scale + 1e-6
        level = ops.zeros_like(scale)
        for above in range(1, len(self.pools)):
            level = level + (scale >= 2.0**above).astype(scale.dtype)
        return level
