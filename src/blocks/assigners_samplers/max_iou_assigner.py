"""Assignment by IoU thresholds (mmdetection's MaxIoUAssigner)."""

from mindspore import nn, ops


class MaxIoUAssigner(nn.Cell):
    """Labels each prior: -1 ignored, 0 background, n + 1 assigned to object n.

    1. Every prior starts as ignored.
    2. A prior whose greatest IoU is below `neg_iou_thr` becomes background.
    3. A prior whose greatest IoU is at least `pos_iou_thr` is assigned to the object where it is reached.
    4. With `match_low_quality`, the best priors of each object (all that tie) are assigned to it if their IoU is above
       0 and at least `min_pos_iou`, whatever the steps before said; of several such objects the last one wins.

    Args:
        matcher: a `GridMatcher` or a `PairwiseMatcher`.
        pos_iou_thr: least IoU of a positive.
        neg_iou_thr: IoU below which a prior is background.
        min_pos_iou: least IoU of step 4.
        match_low_quality: whether step 4 is taken.
    """

    def __init__(
        self, matcher: nn.Cell, pos_iou_thr: float, neg_iou_thr: float, min_pos_iou: float, match_low_quality: bool
    ):
        super().__init__()
        self.matcher = matcher
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.min_pos_iou = min_pos_iou
        self.match_low_quality = match_low_quality

    def construct(self, boxes, valid, priors=None, usable=None):
        """Assign the priors of each image.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 of the objects.
            valid: bool [B,N]; False for padding.
            priors: float32 [B,P,4] for a `PairwiseMatcher`; a `GridMatcher` has its own.
            usable: which priors take part, as the matcher wants it: bool [B,P] for a `PairwiseMatcher`, what
                `inside` gave for a `GridMatcher`. The others are ignored and are no object's best. None: all do.

        Returns:
            int32 [B,P].
        """
        iou, gt, best_of = self.matcher(boxes, valid, priors, self.min_pos_iou, usable)
        ignored = ops.logical_or(iou >= self.neg_iou_thr, iou < 0).astype("int32")
        assigned = ops.where(iou >= self.pos_iou_thr, gt + 1, -ignored)
        if self.match_low_quality:
            assigned = ops.where(best_of > 0, best_of, assigned)
        return assigned
