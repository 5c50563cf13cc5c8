"""RoIAlign for exported models: exact, in operators that the files' runtimes have."""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, ops

from src.ops.roi_align.standard_roi_align import StandardRoIAlign

SHORTEST = 1e-6  # distance of samples, in pixels, that RoIs without size are given


class WindowRoIAlign(StandardRoIAlign):
    """RoIAlign as a matrix product for each RoI, whatever the sampling: for runtimes without adaptive sampling.

    The pixels under an RoI on its own level are gathered from all levels' pixels, row by row [P,C], and multiplied with
    their weights in each bin [o*o,P]: bilinear interpolation and the mean over a bin's samples are both separable, so
    that a weight is that of the pixel's row times that of its column. P is what the largest window may need: an RoI's
    area, not its sides, decides on its level. RoIs are pooled in groups, as a group's pixels take much memory.

    The pixels of maps must be finite, and the images of RoIs be in the batch.
    """

    most_weights = 9_000_000  # of a group of RoIs

    def __init__(
        self, output_size: int, strides: Sequence[float], sampling_ratio: int, aligned: bool, finest_scale: float
    ) -> None:
        super().__init__(output_size, strides, sampling_ratio, aligned, finest_scale)
        self.output_size = output_size
        self.strides = tuple(strides)
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.bins = Tensor(np.arange(output_size, dtype=np.float32).reshape(1, 1, output_size))

    def construct(self, levels: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """levels, a tuple of [B,C,Hl,Wl], and rois [R,5] -> [R,C,o,o]."""
        batch, channels = levels[0].shape[:2]
        sizes = [level.shape[2:] for level in levels]
        lines = [level.reshape(batch, channels, -1).transpose(0, 2, 1) for level in levels]
        pixels = (ops.concat(lines, 1) if len(lines) > 1 else lines[0]).reshape(-1, channels)

        scale, height, width, level_start = self._own_level(rois, sizes)
        highest, widest = max(size[0] for size in sizes), max(size[1] for size in sizes)
        by_row, top, _ = self._weights(rois[:, 2:3] * scale, rois[:, 4:] * scale, height, highest)
        by_column, left, window_width = self._weights(rois[:, 1:2] * scale, rois[:, 3:4] * scale, width, widest)
        shape = (rois.shape[0], -1, self.output_size, self.output_size)
        by_row = ops.broadcast_to(by_row.expand_dims(3), shape).reshape(-1, self.output_size**2)
        by_column = ops.broadcast_to(by_column.expand_dims(2), shape).reshape(-1, self.output_size**2)

        # Each pixel of each window [R,P]: its row and column in the window, its place among all pixels.
        most = self._most_pixels(sizes)
        numbers = Tensor(np.arange(most, dtype=np.float32).reshape(1, -1))
        row = ops.floor((numbers + 0.5) / window_width)
        column = numbers - row * window_width
        image_start = rois[:, :1] * float(sum(size[0] * size[1] for size in sizes))
        place = image_start + level_start + (top + row) * width + left + column
        place = ops.minimum(place, float(pixels.shape[0] - 1)).astype(ms.int32)  # what is beyond has no weight
        roi = Tensor(np.arange(rois.shape[0], dtype=np.float32).reshape(-1, 1))
        row = (ops.minimum(row, float(highest)) + roi * (highest + 1)).astype(ms.int32)
        column = (column + roi * (widest + 1)).astype(ms.int32)

        pooled = []
        for start, end in self._groups(rois.shape[0], most):
            weights = ops.gather(by_row, row[start:end], 0) * ops.gather(by_column, column[start:end], 0)
            pooled.append(ops.bmm(weights.transpose(0, 2, 1), ops.gather(pixels, place[start:end], 0)))
        bins = ops.concat(pooled, 0) if len(pooled) > 1 else pooled[0]
        return bins.transpose(0, 2, 1).reshape(-1, channels, self.output_size, self.output_size)

    def _groups(self, count: int, pixels: int) -> list[tuple[int, int]]:
        """First RoI and end of each of as few equal groups as `most_weights` lets there be."""
        most = max(self.most_weights // (pixels * self.output_size**2), 1)
        number = (count + most - 1) // most
        size = (count + number - 1) // number
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    def _own_level(self, rois: Tensor, sizes: Sequence[Sequence[int]]) -> list[Tensor]:
        """Of each RoI's level, [R,1]: 1 / stride, height, width, place of its first pixel among an image's pixels."""
        chosen = (self._levels_of(rois) if len(sizes) > 1 else ops.zeros_like(rois[:, 0])).expand_dims(1)
        own = ops.zeros_like(rois[:, :4])
        pixels_before = 0
        for level in range(len(sizes)):
            height, width = sizes[level]
            values = Tensor(np.array([[1 / self.strides[level], height, width, pixels_before]], np.float32))
            own = own + (chosen == level).astype(ms.float32) * values
            pixels_before = pixels_before + height * width
        return [own[:, place : place + 1] for place in range(4)]

    def _most_pixels(self, sizes: Sequence[Sequence[int]]) -> int:
        """P: the most pixels under an RoI.

        A range of s pixels has samples between at most s + 3 of them. On all levels but the last the area w h of an RoI
        is limited, and (w + 3) (h + 3) is largest for the longest that fits.
        """
        most = sizes[-1][0] * sizes[-1][1]
        for level in range(len(sizes) - 1):
            height, width = sizes[level]
            area = (2.0 ** (level + 1) * self.finest_scale / self.strides[level]) ** 2
            longest = max(height, width)
            most = max(most, min(height * width, int(area + 3 * (longest + area / longest) + 9)))
        return most

    def _weights(self, low: Tensor, high: Tensor, length: Tensor, longest: int) -> tuple[Tensor, Tensor, Tensor]:
        """Weights in each bin of the pixels under the ranges low..high [R,1] along a side of the map.

        A sample at y gives pixel p the weight 1 - |y - p| within a pixel, and the outermost pixels 1 beyond them. The
        samples of a bin are equally spaced, so that the sum over those left of a place has a closed form.

        Args:
            low: start of the range in pixels of the level.
            high: its end.
            length: [R,1] of that side of the range's level.
            longest: the largest of all levels.

        Returns:
            Weights of the `longest` + 1 pixels from the window's first one on, [R,longest+1,o]; the last are zeros.
            Number of the first pixel [R,1], and how many the window has [R,1].
        """
        start = low - 0.5 if self.aligned else low
        span = high - low
        span = span if self.aligned else ops.maximum(span, 1.0)
        step = span / self.output_size
        number = -ops.floor(ops.minimum(-step, 0.0))
        if self.sampling_ratio:
            number = ops.zeros_like(step) + self.sampling_ratio
        distance = ops.maximum(step / ops.maximum(number, 1.0), SHORTEST)
        first = ops.minimum(ops.maximum(ops.floor(start + 0.5 * distance), 0.0), length - 1)
        last = ops.minimum(ops.maximum(ops.floor(start + span - 0.5 * distance) + 1, first), length - 1)

        # Samples up to each place from a pixel before the window on, and the sum of their distances from the first
        # edge of the bin.
        start, step, number, distance = (v.expand_dims(2) for v in (start, step, number, distance))
        pixels = first.expand_dims(2) + Tensor(np.arange(-1, longest + 2, dtype=np.float32).reshape(1, -1, 1))
        places = pixels - (start + self.bins * step)
        counts = ops.minimum(ops.maximum(ops.floor(places / distance + 0.5), 0.0), number)
        sums = 0.5 * distance * counts * counts
        between = counts[:, 1:] - counts[:, :-1]
        moments = sums[:, 1:] - sums[:, :-1]
        rising = moments[:, :-1] - places[:, :-2] * between[:, :-1]
        falling = places[:, 2:] * between[:, 1:] - moments[:, 1:]
        from_end = length.expand_dims(2) - 1 - pixels[:, 1:-1]
        rising = ops.where(pixels[:, 1:-1] == 0, between[:, :-1], rising)
        falling = ops.where(from_end == 0, between[:, 1:], falling)
        inside = (from_end >= 0).astype(ms.float32)
        return (rising + falling) / ops.maximum(number, 1.0) * inside, first, last - first + 1


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
