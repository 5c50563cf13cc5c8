"""Assignment by IoU thresholds (mmdetection's MaxIoUAssigner)."""

from typing import NamedTuple

from mindspore import Tensor, nn, ops


class AssignerOptions(NamedTuple):
    """Thresholds of a `MaxIoUAssigner`.

    Attributes:
        pos_iou_thr: least IoU of a positive.
        neg_iou_thr: IoU below which a prior is background.
        min_pos_iou: least IoU of an object's best priors.
        match_low_quality: whether these are assigned to it whatever the other thresholds say.
    """

    pos_iou_thr: float
    neg_iou_thr: float
    min_pos_iou: float
    match_low_quality: bool


class MaxIoUAssigner(nn.Cell):
    """Labels each prior: -1 ignored, 0 background, n + 1 assigned to object n.

    1. Every prior starts as ignored.
    2. A prior whose greatest IoU is below `neg_iou_thr` becomes background.
    3. A prior whose greatest IoU is at least `pos_iou_thr` is assigned to the object where it is reached.
    4. With `match_low_quality`, the best priors of each object (all that tie) are assigned to it if their IoU is above
       0 and at least `min_pos_iou`, whatever the steps before said; of several such objects the last one wins.

    Args:
        matcher: a `GridMatcher` or a `PairwiseMatcher`.
        options: the thresholds.
    """

    def __init__(self, matcher: nn.Cell, options: AssignerOptions) -> None:
        super().__init__()
        self.matcher = matcher
        self.options = options

    def construct(
        self,
        boxes: Tensor,
        valid: Tensor,
        priors: Tensor | None = None,
        usable: Tensor | tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
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
        options = self.options
        iou, gt, best_of = self.matcher(boxes, valid, priors, options.min_pos_iou, usable)
        ignored = ops.logical_or(iou >= options.neg_iou_thr, iou < 0).astype("int32")
        assigned = ops.where(iou >= options.pos_iou_thr, gt + 1, -ignored)
        if options.match_low_quality:
            assigned = ops.where(best_of > 0, best_of, assigned)
        return assigned
