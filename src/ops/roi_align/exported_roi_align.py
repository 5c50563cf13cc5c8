"""RoIAlign for exported models: exact, in operators that the files' runtimes have."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from src.ops.roi_align.standard_roi_align import StandardRoIAlign

SHORTEST = 1e-6  # distance of samples, in pixels, that RoIs without size are given


class MatrixRoIAlign(StandardRoIAlign):
    """RoIAlign as two matrix products, whatever the sampling: for MINDIR, whose ROIAlign has no adaptive sampling.

    Bilinear interpolation and the mean over a bin's samples are both separable, so that an RoI's bins are
    Y features X^T with a row of weights for each bin: Y [o,H], X [o,W]. Every RoI is multiplied on every level.

    RoIs must be grouped by image, as many of each.
    """

    def __init__(
        self, output_size: int, strides: Sequence[float], sampling_ratio: int, aligned: bool, finest_scale: float
    ) -> None:
        super().__init__(output_size, strides, sampling_ratio, aligned, finest_scale)
        self.output_size = output_size
        self.strides = tuple(strides)
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.bins = Tensor(np.arange(output_size, dtype=np.float32).reshape(1, 1, output_size, 1))

    def _pool(self, level: int, features: Tensor, rois: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        size = self.output_size
        boxes = rois[:, 1:].reshape(batch, -1, 4) / self.strides[level]
        count = batch * boxes.shape[1]
        columns = self._weights(boxes[..., 0], boxes[..., 2], width).reshape(batch, -1, width)
        rows = self._weights(boxes[..., 1], boxes[..., 3], height).reshape(count, 1, size, height)
        rows = ops.broadcast_to(rows, (count, size, size, height)).reshape(-1, size, height)
        lines = features.transpose(0, 3, 2, 1).reshape(batch, width, height * channels)
        half = ops.bmm(columns, lines).reshape(-1, height, channels)  # a bin of columns, all rows
        pooled = ops.bmm(rows, half).reshape(count, size, size, channels)  # column, row, channel
        return pooled.transpose(0, 3, 2, 1)

    def _weights(self, low: Tensor, high: Tensor, length: int) -> Tensor:
        """Weights of the pixels 0..length-1 in each bin of the ranges low..high [B,M]: [B,M,o,length].

        A sample at y gives pixel p the weight 1 - |y - p| within a pixel, and the outermost pixels 1 beyond them. The
        samples of a bin are equally spaced, so that the sum over those left of a place has a closed form.
        """
        start = (low - 0.5 if self.aligned else low).expand_dims(2).expand_dims(3)
        span = high - low
        span = (span if self.aligned else ops.maximum(span, 1.0)).expand_dims(2).expand_dims(3)
        step = span / self.output_size
        number = -ops.floor(ops.minimum(-step, 0.0))
        if self.sampling_ratio:
            number = ops.zeros_like(step) + self.sampling_ratio
        distance = ops.maximum(step / ops.maximum(number, 1.0), SHORTEST)
        first = start + self.bins * step
        # Samples up to the places -1, 0, .., length, and the sum of their distances from the first edge of the bin.
        places = Tensor(np.arange(-1, length + 1, dtype=np.float32).reshape(1, 1, 1, -1)) - first
        counts = ops.minimum(ops.maximum(ops.floor(places / distance + 0.5), 0.0), number)
        sums = 0.5 * distance * counts * counts
        between = counts[..., 1:] - counts[..., :-1]
        moments = sums[..., 1:] - sums[..., :-1]
        rising = moments[..., :-1] - places[..., :-2] * between[..., :-1]
        falling = places[..., 2:] * between[..., 1:] - moments[..., 1:]
        rising = ops.concat((between[..., :1], rising[..., 1:]), 3)
        falling = ops.concat((falling[..., :-1], between[..., -1:]), 3)
        return (rising + falling) / ops.maximum(number, 1.0)


class OnnxRoIAlign(StandardRoIAlign):
    """RoIAlign as ONNX has it, adaptive sampling included, for export alone: MindSpore cannot compute it.

    The exporter writes ONNX's RoiAlign for ops.ROIAlign; what it writes is of version 11 of the operators and has no
    half-pixel shift, which `src.deploy.onnx_passes` sets where RoIs are aligned. Adaptive sampling of an aligned RoI
    without size takes no sample: ONNX Runtime gives zeros, OpenVINO NaN. Here the operator never sees such RoIs.
    """

    def __init__(
        self, output_size: int, strides: Sequence[float], sampling_ratio: int, aligned: bool, finest_scale: float
    ) -> None:
        super().__init__(output_size, strides, sampling_ratio, aligned, finest_scale)
        self.pools = [ops.ROIAlign(output_size, output_size, 1 / stride, sampling_ratio, 0) for stride in strides]
        self.takes_no_sample = aligned and not sampling_ratio
        self.some_roi = Tensor([[0, 0, 0, *2 * [min(strides)]]], ms.float32)

    def _pool(self, level: int, features: Tensor, rois: Tensor) -> Tensor:
        if not self.takes_no_sample:
            return self.pools[level](features, rois)
        has_size = ops.minimum(rois[:, 3] - rois[:, 1], rois[:, 4] - rois[:, 2]) > 0
        pooled = self.pools[level](features, ops.where(has_size.reshape(-1, 1), rois, self.some_roi))
        return pooled * has_size.reshape(-1, 1, 1, 1).astype(pooled.dtype)
