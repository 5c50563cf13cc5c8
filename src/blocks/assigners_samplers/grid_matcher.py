"""Overlaps of a grid's anchors with objects, at the cost of a few multiplications per pair."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.anchor_generator import AnchorGenerator
from src.ops.matching import largest_products


class GridMatcher(nn.Cell):
    """Matches the anchors of an `AnchorGenerator` on fixed grids.

    On a grid the intersection of an anchor and an object is (overlap along y, a function of the row) x (overlap along
    x, a function of the column). So the overlaps along each axis are computed for rows and columns only, and a level's
    [rows, columns, anchors, N] table takes one broadcast product. That product is of r = intersection / (anchor area +
    object area), from which IoU = r / (1 - r): a growing function, so r finds the same maxima. An object's greatest r
    is the product of its greatest overlaps along the axes and needs no table at all.

    Anchors of a level that hold a whole small object have the same IoU with it, and all are its best anchors here;
    mmdetection takes their areas from rounded corners, and so lets rounding choose some of them.

    Args:
        generator: the anchors.
        sizes: rows and columns of each level.
    """

    def __init__(self, generator: AnchorGenerator, sizes: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        intervals = generator.intervals(sizes)
        self.rows = Tensor(np.concatenate([y for y, _ in intervals]))
        self.columns = Tensor(np.concatenate([x for _, x in intervals]))
        areas = []
        for (_, width), base in zip(sizes, generator.base_anchors, strict=True):
            area = np.prod(base[:, 2:] - base[:, :2], axis=1, dtype=np.float32)
            areas.append(np.tile(area, (width, 1)))
        self.areas = Tensor(np.concatenate(areas)[None, :, :, None])
        self.row_ends = tuple(np.cumsum([height for height, _ in sizes]).tolist())
        self.column_ends = tuple(np.cumsum([width for _, width in sizes]).tolist())
        self.kernel = largest_products()

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on."""
        self.kernel = None

    def inside(self, image_size: Tensor, border: float = 0.0) -> tuple[Tensor, Tensor]:
        """Which anchors lie inside their image, along each axis.

        Args:
            image_size: float32 [B,2], height and width of the images in network pixels.
            border: pixels that an anchor may reach beyond the image.

        Returns:
            float32 [B,rows,anchors,1] and [B,columns,anchors,1], 1 or 0, rows and columns of all levels.
        """
        height, width = image_size[:, :1].expand_dims(2), image_size[:, 1:].expand_dims(2)
        return _within(self.rows, height, border), _within(self.columns, width, border)

    def construct(
        self,
        boxes: Tensor,
        valid: Tensor,
        _priors: None,
        min_pos_iou: float,
        usable: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Overlaps boiled down; P runs over levels, rows, columns and anchors.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 of the objects.
            valid: bool [B,N]; False for padding.
            _priors: where a `PairwiseMatcher` has them; the anchors are the grid's.
            min_pos_iou: least IoU of an object's best anchors.
            usable: which rows and columns take part, from `inside`; None: all do.

        Returns:
            iou, gt and best_of [B,P], as from a `PairwiseMatcher`.
        """
        sides = boxes.transpose(2, 0, 1)
        object_area = (sides[2] - sides[0]) * (sides[3] - sides[1])
        real = valid.astype("float32").reshape(valid.shape[0], 1, 1, -1)
        normalizer = real / (self.areas + object_area.reshape(real.shape))
        overlap_y = _axis_overlap(self.rows, sides[1], sides[3])
        overlap_x = _axis_overlap(self.columns, sides[0], sides[2]) * normalizer
        if usable is not None:
            overlap_y, overlap_x = overlap_y * usable[0], overlap_x * usable[1]
        along_y = self._by_level(overlap_y, self.row_ends)
        along_x = self._by_level(overlap_x, self.column_ends)
        peaks: tuple[Tensor, ...] = ()
        for i in range(len(along_y)):
            peaks = peaks + (along_y[i].max(axis=1, keepdims=True) * along_x[i].max(axis=1, keepdims=True),)
        peak = ops.concat(peaks, 2).max(axis=2, keepdims=True)
        wanted = ops.logical_and(peak > 0, _iou(peak) >= min_pos_iou)
        number = ops.arange(1, boxes.shape[1] + 1).astype("float32") * wanted
        ratios: tuple[Tensor, ...] = ()
        gts: tuple[Tensor, ...] = ()
        best_ofs: tuple[Tensor, ...] = ()
        for i in range(len(along_y)):
            ratio, gt = self._largest(along_y[i], along_x[i])
            ratios = ratios + (ratio,)
            gts = gts + (gt,)
            best_ofs = best_ofs + (self._best_of(along_y[i], along_x[i], number * (peaks[i] == peak)),)
        iou = _iou(ops.concat(ratios, 1))
        if usable is not None:
            iou = iou + self._used(*usable) - 1
        return iou, ops.concat(gts, 1).astype("int32"), ops.concat(best_ofs, 1).astype("int32")

    def _used(self, rows: Tensor, columns: Tensor) -> Tensor:
        """[B,rows,anchors,1] and [B,columns,anchors,1] of all levels -> [B,P]."""
        rows, columns = self._by_level(rows, self.row_ends), self._by_level(columns, self.column_ends)
        levels: tuple[Tensor, ...] = ()
        for i in range(len(rows)):
            levels = levels + (_table(rows[i], columns[i]).squeeze(2),)
        return ops.concat(levels, 1)

    def _by_level(self, overlaps: Tensor, ends: tuple[int, ...]) -> tuple[Tensor, ...]:
        levels: tuple[Tensor, ...] = ()
        start = 0
        for end in ends:
            levels = levels + (overlaps[:, start:end],)
            start = end
        return levels

    def _best_of(self, height: Tensor, width: Tensor, number: Tensor) -> Tensor:
        """The greatest `number` [B,1,anchors,N] of an object whose peak lies at this row, column and anchor."""
        top = (height == height.max(axis=1, keepdims=True)).astype("float32") * number
        left = (width == width.max(axis=1, keepdims=True)).astype("float32")
        return self._largest(top, left)[0]

    def _largest(self, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
        """The largest of each anchor's products [B,rows*columns*anchors], and the first of N where it is."""
        if self.kernel is not None:
            return self.kernel(height, width)
        index, largest = ops.ArgMaxWithValue(axis=2)(_table(height, width))
        return largest, index


def _within(intervals: Tensor, length: Tensor, border: float) -> Tensor:
    """1 where intervals [positions,anchors,2] leave 0..length [B,1,1] by less than `border`, else 0."""
    # mmdetection's rule: the end of an anchor that touches the image's end is outside.
    first, last = intervals[..., 0].expand_dims(0), intervals[..., 1].expand_dims(0)
    return ops.logical_and(first >= -border, last < length + border).astype("float32").expand_dims(3)


def _axis_overlap(intervals: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Length of the intersection of intervals [positions,anchors,2] with low..high [B,N] -> [B,positions,anchors,N]."""
    positions, anchors, _ = intervals.shape
    batch, count = low.shape
    shape = (batch, positions, anchors, count)
    # Maximum and Minimum are slow on CPU when they broadcast, so the broadcast comes first.
    first = ops.broadcast_to(intervals[..., 0].reshape(1, positions, anchors, 1), shape)
    last = ops.broadcast_to(intervals[..., 1].reshape(1, positions, anchors, 1), shape)
    low = ops.broadcast_to(low.reshape(batch, 1, 1, count), shape)
    high = ops.broadcast_to(high.reshape(batch, 1, 1, count), shape)
    return ops.relu(ops.minimum(last, high) - ops.maximum(first, low))


def _table(height: Tensor, width: Tensor) -> Tensor:
    """Products of height [B,rows,anchors,N] and width [B,columns,anchors,N] -> [B,rows*columns*anchors,N]."""
    batch, rows, anchors, count = height.shape
    table = height.expand_dims(2) * width.expand_dims(1)
    return table.reshape(batch, rows * width.shape[1] * anchors, count)


def _iou(ratio: Tensor) -> Tensor:
    return ratio / (1 - ratio)
