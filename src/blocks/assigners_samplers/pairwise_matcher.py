"""Overlaps of any priors with objects."""

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.ops.matching import match_pairs


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of first [B,P,4] with second [B,N,4] -> [B,P,N]; 0 where both are empty."""
    shape = (first.shape[0], first.shape[1], second.shape[1])
    intersection = _overlap(first, second, 0, shape) * _overlap(first, second, 1, shape)
    union = _area(first).expand_dims(2) + _area(second).expand_dims(1) - intersection
    return intersection / ops.clamp(union, 1e-6, None)


def _overlap(first: Tensor, second: Tensor, axis: int, shape: tuple[int, ...]) -> Tensor:
    """Length of the intersections along x (axis 0) or y (1): [B,P,N], the `shape`."""
    # Maximum and Minimum are slow on CPU when they broadcast, so the broadcast comes first; and a table for each
    # coordinate takes a fourth of the time and of the memory of one for all four.
    low = ops.maximum(_table(first, 2, axis, shape), _table(second, 1, axis, shape))
    high = ops.minimum(_table(first, 2, axis + 2, shape), _table(second, 1, axis + 2, shape))
    return ops.relu(high - low)


def _table(boxes: Tensor, new_axis: int, column: int, shape: tuple[int, ...]) -> Tensor:
    return ops.broadcast_to(boxes[..., column].expand_dims(new_axis), shape)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


class PairwiseMatcher(nn.Cell):
    """Matches priors that differ from image to image, such as proposals.

    Args:
        gt_max_assign_all: all priors that tie for an object's best are its best; False: only the first of them.
    """

    def __init__(self, gt_max_assign_all: bool = True) -> None:
        super().__init__()
        self.gt_max_assign_all = gt_max_assign_all
        self.kernel = match_pairs()

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on."""
        self.kernel = None

    def construct(
        self, boxes: Tensor, valid: Tensor, priors: Tensor, min_pos_iou: float, usable: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Overlaps boiled down.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 of the objects.
            valid: bool [B,N]; False for padding.
            priors: float32 [B,P,4].
            min_pos_iou: least IoU of an object's best priors.
            usable: bool [B,P]; False for priors that take no part; None: all do.

        Returns:
            iou: float32 [B,P], each prior's greatest IoU with an object; 0 without objects, -1 if it takes no part.
            gt: int32 [B,P], the first object where it is reached.
            best_of: int32 [B,P]; n + 1 where the prior is among the best priors of object n (the last such object),
                else 0. An object whose best IoU is 0 or below `min_pos_iou` has no best priors.
        """
        if self.kernel is not None:
            taking_part = ops.ones_like(priors[..., 0]) if usable is None else usable.astype("float32")
            settings = Tensor([min_pos_iou, float(self.gt_max_assign_all)], ms.float32)
            return self.kernel(settings, boxes, valid.astype("float32"), priors, taking_part)
        iou = pairwise_iou(priors, boxes) * valid.astype("float32").expand_dims(1)
        if usable is not None:
            iou = iou * usable.astype("float32").expand_dims(2)
        gt, greatest = ops.ArgMaxWithValue(axis=2)(iou)
        first, peak = ops.ArgMaxWithValue(axis=1, keep_dims=True)(iou)
        wanted = ops.logical_and(peak > 0, peak >= min_pos_iou)
        if self.gt_max_assign_all:
            best = iou == peak
        else:
            best = ops.arange(iou.shape[1]).astype("int32").reshape(1, -1, 1) == first.astype("int32")
        best = ops.logical_and(best, wanted).astype("float32")
        number = ops.arange(1, boxes.shape[1] + 1).astype("float32")
        best_of = (best * number).max(axis=2).astype("int32")
        if usable is not None:
            greatest = greatest + (usable.astype("float32") - 1)
        return greatest, gt.astype("int32"), best_of
