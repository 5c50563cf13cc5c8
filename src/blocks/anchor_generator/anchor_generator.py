"""Anchors on the grids of a feature pyramid (the convention of mmdetection's AnchorGenerator)."""

from collections.abc import Sequence

import numpy as np


class AnchorGenerator:
    """Boxes of several scales and height/width ratios around each grid point of each level.

    Grid point (x, y) of a level lies at ((x + center_offset) * stride, (y + center_offset) * stride). Either `scales`,
    or `octave_base_scale` and `scales_per_octave` (scales base * 2**(i/n)), in multiples of the stride.

    Args:
        strides: pixels between grid points of each level.
        ratios: height / width.
        octave_base_scale: smallest scale.
        scales_per_octave: number of scales between it and its double.
        scales: the scales themselves.
        rounded: round the corners of the anchors around the origin to whole pixels, as torchvision does.
        center_offset: where in its cell a grid point lies, in strides: 0 its corner, 0.5 its middle (SSD's way).

    Raises:
        ValueError: neither scales nor octaves are given.
    """

    def __init__(
        self,
        strides: Sequence[int],
        ratios: Sequence[float],
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        scales: Sequence[float] | None = None,
        rounded: bool = False,
        center_offset: float = 0.0,
    ) -> None:
        if scales is None:
            if octave_base_scale is None or scales_per_octave is None:
                raise ValueError("anchors need scales, or octave_base_scale and scales_per_octave")
            scales = [octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)]
        self.strides = tuple(strides)
        sizes = np.asarray(scales, np.float32)
        height_ratios = np.sqrt(np.asarray(ratios, np.float32))
        width_ratios = 1 / height_ratios
        self.base_anchors = [self._base(stride, sizes, width_ratios, height_ratios) for stride in self.strides]
        if rounded:
            self.base_anchors = [np.round(base) for base in self.base_anchors]
        if center_offset:
            shifts = [np.float32(center_offset * stride) for stride in self.strides]
            self.base_anchors = [base + shift for base, shift in zip(self.base_anchors, shifts, strict=True)]

    @staticmethod
    def _base(stride: int, scales: np.ndarray, width_ratios: np.ndarray, height_ratios: np.ndarray) -> np.ndarray:
        widths = (np.float32(stride) * width_ratios[:, None] * scales[None]).reshape(-1)
        heights = (np.float32(stride) * height_ratios[:, None] * scales[None]).reshape(-1)
        return np.stack([-widths / 2, -heights / 2, widths / 2, heights / 2], axis=1).astype(np.float32)

    @property
    def num_base_anchors(self) -> int:
        """Anchors per grid point."""
        return len(self.base_anchors[0])

    def feature_sizes(self, height: int, width: int) -> list[tuple[int, int]]:
        """Rows and columns of each level for an image of this size in pixels."""
        return [(-(-height // stride), -(-width // stride)) for stride in self.strides]

    def intervals(self, sizes: Sequence[tuple[int, int]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """The anchors' sides along each axis, which do not depend on the other axis.

        Args:
            sizes: rows and columns of each level.

        Returns:
            For each level y1, y2 as float32 [rows, anchors, 2] and x1, x2 as float32 [columns, anchors, 2].
        """
        result = []
        for (rows, columns), stride, base in zip(sizes, self.strides, self.base_anchors, strict=True):
            y = np.arange(rows, dtype=np.float32)[:, None, None] * stride + base[None, :, 1::2]
            x = np.arange(columns, dtype=np.float32)[:, None, None] * stride + base[None, :, 0::2]
            result.append((y, x))
        return result

    def grid_anchors(self, sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """All anchors.

        Args:
            sizes: rows and columns of each level.

        Returns:
            For each level float32 [rows * columns * anchors, 4], x1 y1 x2 y2 in pixels, ordered by y, x, anchor. They
            may leave the image.
        """
        levels = []
        for y, x in self.intervals(sizes):
            rows, columns, anchors = len(y), len(x), y.shape[1]
            boxes = np.empty((rows, columns, anchors, 4), np.float32)
            boxes[..., 0::2] = x[None]
            boxes[..., 1::2] = y[:, None]
            levels.append(boxes.reshape(-1, 4))
        return levels
