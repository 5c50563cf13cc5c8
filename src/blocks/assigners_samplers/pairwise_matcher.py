"""Overlaps of any priors with objects."""

from mindspore import nn, ops


def pairwise_iou(first, second):
    """IoU of first [B,P,4] with second [B,N,4] -> [B,P,N]; 0 where both are empty."""
    shape = (first.shape[0], first.shape[1], second.shape[1], 4)
    # Maximum and Minimum are slow on CPU when they broadcast, so the broadcast comes first.
    a = ops.broadcast_to(first.expand_dims(2), shape)
    b = ops.broadcast_to(second.expand_dims(1), shape)
    sides = ops.relu(ops.minimum(a[..., 2:], b[..., 2:]) - ops.maximum(a[..., :2], b[..., :2]))
    intersection = sides[..., 0] * sides[..., 1]
    union = _area(first).expand_dims(2) + _area(second).expand_dims(1) - intersection
    return intersection / ops.clamp(union, 1e-6, None)


def _area(boxes):
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


class PairwiseMatcher(nn.Cell):
    """Matches priors that differ from image to image, such as proposals."""

    def construct(self, boxes, valid, priors, min_pos_iou, usable=None):
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
        iou = pairwise_iou(priors, boxes) * valid.astype("float32").expand_dims(1)
        if usable is not None:
            iou = iou * usable.astype("float32").expand_dims(2)
        gt, greatest = ops.ArgMaxWithValue(axis=2)(iou)
        peak = iou.max(axis=1, keepdims=True)
        wanted = ops.logical_and(peak > 0, peak >= min_pos_iou)
        best = ops.logical_and(iou == peak, wanted).astype("float32")
        number = ops.arange(1, boxes.shape[1] + 1).astype("float32")
        best_of = (best * number).max(axis=2).astype("int32")
        if usable is not None:
            greatest = greatest + (usable.astype("float32") - 1)
        return greatest, gt.astype("int32"), best_of
