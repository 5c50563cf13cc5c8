"""Overlaps of a grid's anchors with objects, at the cost of a few multiplications a pair."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.anchor_generator import AnchorGenerator


class GridMatcher(nn.Cell):
    """Matches the anchors of an `AnchorGenerator` on fixed grids.

    On a grid the intersection of an anchor and an object is (overlap along y, a function of the row) x (overlap along
    x, a function of the column). So the overlaps along each axis are computed for rows and columns only, and a level's
    [rows, columns, anchors, N] table takes one broadcast product. That product is of r = intersection / (anchor area +
    object area), from which IoU = r / (1 - r): a growing function, so r finds the same maxima. An object's greatest r is
    the product of its greatest overlaps along the axes and needs no table at all.

    Args:
        generator: the anchors.
        sizes: rows and columns of each level.
    """

    def __init__(self, generator: AnchorGenerator, sizes: Sequence[tuple[int, int]]):
        super().__init__()
        self.rows, self.columns, self.areas = [], [], []
        for (y, x), base in zip(generator.intervals(sizes), generator.base_anchors, strict=True):
            self.rows.append(Tensor(y))
            self.columns.append(Tensor(x))
            area = np.prod(base[:, 2:] - base[:, :2], axis=1, dtype=np.float32)
            self.areas.append(Tensor(area[None, None, :, None]))

    def construct(self, boxes, valid, priors, min_pos_iou):
        """Overlaps boiled down; P runs over levels, rows, columns and anchors.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 of the objects.
            valid: bool [B,N]; False for padding.
            priors: None: the anchors are the grid's.
            min_pos_iou: least IoU of an object's best anchors.

        Returns:
            iou, gt and best_of [B,P], as from a `PairwiseMatcher`.
        """
        x = ops.stack((boxes[..., 0], boxes[..., 2]), 0)
        y = ops.stack((boxes[..., 1], boxes[..., 3]), 0)
        object_area = ((x[1] - x[0]) * (y[1] - y[0])).expand_dims(1).expand_dims(1)
        real = valid.astype("float32").expand_dims(1).expand_dims(1)
        along_y, along_x, peaks = (), (), ()
        for i in range(len(self.rows)):
            height = _axis_overlap(self.rows[i], y)
            width = _axis_overlap(self.columns[i], x) * (real / (self.areas[i] + object_area))
            along_y = along_y + (height,)
            along_x = along_x + (width,)
            peaks = peaks + (height.max(axis=1, keepdims=True) * width.max(axis=1, keepdims=True),)
        peak = ops.concat(peaks, 2).max(axis=2, keepdims=True)
        wanted = ops.logical_and(peak > 0, _iou(peak) >= min_pos_iou)
        number = ops.arange(1, boxes.shape[1] + 1).astype("float32") * wanted
        ious, gts, best_ofs = (), (), ()
        for i in range(len(self.rows)):
            iou, gt = self._best_object(along_y[i], along_x[i])
            ious = ious + (iou,)
            gts = gts + (gt,)
            best_ofs = best_ofs + (self._best_of(along_y[i], along_x[i], number * (peaks[i] == peak)),)
        return ops.concat(ious, 1), ops.concat(gts, 1), ops.concat(best_ofs, 1)

    def _best_object(self, height, width):
        gt, ratio = ops.ArgMaxWithValue(axis=2)(_table(height, width))
        return _iou(ratio), gt.astype("int32")

    def _best_of(self, height, width, number):
        """The greatest `number` [B,1,anchors,N] of an object whose peak lies at this row, column and anchor."""
        top = (height == height.max(axis=1, keepdims=True)).astype("float32") * number
        left = (width == width.max(axis=1, keepdims=True)).astype("float32")
        return _table(top, left).max(axis=2).astype("int32")


def _axis_overlap(intervals, sides):
    """Length of the intersection of intervals [positions,anchors,2] with sides [2,B,N] -> [B,positions,anchors,N]."""
    positions, anchors, _ = intervals.shape
    _, batch, count = sides.shape
    shape = (batch, positions, anchors, count)
    # Maximum and Minimum are slow on CPU when they broadcast, so the broadcast comes first.
    low = ops.broadcast_to(intervals[..., 0].reshape(1, positions, anchors, 1), shape)
    high = ops.broadcast_to(intervals[..., 1].reshape(1, positions, anchors, 1), shape)
    first = ops.broadcast_to(sides[0].reshape(batch, 1, 1, count), shape)
    last = ops.broadcast_to(sides[1].reshape(batch, 1, 1, count), shape)
    return ops.relu(ops.minimum(high, last) - ops.maximum(low, first))


def _table(height, width):
    """Products of height [B,rows,anchors,N] and width [B,columns,anchors,N] -> [B,rows*columns*anchors,N]."""
    batch, rows, anchors, count = height.shape
    table = height.expand_dims(2) * width.expand_dims(1)
    return table.reshape(batch, rows * width.shape[1] * anchors, count)


def _iou(ratio):
    return ratio / (1 - ratio)
