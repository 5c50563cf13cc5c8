"""What the anchors of RefineDet's two modules should predict (Zhang et al. 2018, arXiv:1711.06897, section 3.2)."""

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.assigners_samplers import AssignerOptions, MaxIoUAssigner, PairwiseMatcher
from src.blocks.assigners_samplers.rows import take_rows
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder


def limit_sides(anchors: np.ndarray, height: int, width: int) -> np.ndarray:
    """Anchors [P,4] that are wider or higher than the image become as wide or high as it; centres stay.

    What clipping (centre, width, height) to 0..1 does in the PyTorch port of RefineDet.
    """
    centre = (anchors[:, :2] + anchors[:, 2:]) / 2
    half = np.minimum(anchors[:, 2:] - anchors[:, :2], np.array([width, height], np.float32)) / 2
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


class RefineDetTargets(nn.Cell):
    """Targets of the anchor refinement module (ARM) and of the object detection module (ODM).

    The ODM's anchors are those that the ARM has refined. Its easy anchors, whose objectness is at most
    `objectness_thr`, take no part:

    - objectness_filter `negatives` (the paper and the authors' code): they are no hard negatives;
    - objectness_filter `positives` (the PyTorch port, luuuyi/RefineDet.PyTorch): they are no positives, but may be
      mined among the negatives, then with their object's class as the label.

    Args:
        anchors: float32 [P,4], x1 y1 x2 y2 in network pixels.
        coder: encodes and decodes boxes.
        iou_thr: an anchor of at least this IoU with an object is positive, and each object's best anchor.
        objectness_thr: see above.
        objectness_filter: see above.
    """

    def __init__(
        self,
        anchors: np.ndarray,
        coder: DeltaXYWHBBoxCoder,
        iou_thr: float = 0.5,
        objectness_thr: float = 0.01,
        objectness_filter: str = "positives",
    ) -> None:
        super().__init__()
        self.anchors = Tensor(anchors)
        self.coder = coder
        self.assigner = MaxIoUAssigner(
            PairwiseMatcher(gt_max_assign_all=False), AssignerOptions(iou_thr, iou_thr, 0.0, True)
        )
        self.objectness_thr = objectness_thr
        self.drops_positives = objectness_filter == "positives"

    def refine(self, arm_loc: Tensor) -> Tensor:
        """The ARM's deltas [B,P,4] -> its refined anchors [B,P,4], x1 y1 x2 y2 in network pixels."""
        return self.coder.decode(self.anchors.expand_dims(0), arm_loc)

    def is_object(self, arm_conf: Tensor) -> Tensor:
        """The ARM's scores [B,P,2] before softmax -> bool [B,P], whether the objectness is above the threshold."""
        return ops.softmax(arm_conf, 2)[..., 1] > self.objectness_thr

    def arm(self, boxes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Targets of the ARM, without gradient: an object or none.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            valid: bool [B,N]; False for padding.

        Returns:
            labels, target_deltas, positive and candidates of `MultiBoxLoss`.
        """
        anchors = self.anchors.expand_dims(0)
        priors = ops.broadcast_to(anchors, (boxes.shape[0],) + self.anchors.shape)
        assigned = self.assigner(boxes, valid, priors)
        positive = assigned > 0
        return positive.astype("int32"), self._deltas(boxes, assigned, priors), positive, assigned == 0

    def odm(
        self, boxes: Tensor, labels: Tensor, valid: Tensor, arm_loc: Tensor, arm_conf: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Targets of the ODM, without gradient: classes on the ARM's anchors.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            labels: int32 [B,N], 0..K-1.
            valid: bool [B,N]; False for padding.
            arm_loc: float32 [B,P,4], the ARM's deltas.
            arm_conf: float32 [B,P,2], the ARM's scores before softmax.

        Returns:
            labels, target_deltas, positive and candidates of `MultiBoxLoss`.
        """
        refined = ops.stop_gradient(self.refine(arm_loc))
        is_object = self.is_object(ops.stop_gradient(arm_conf))
        assigned = self.assigner(boxes, valid, refined)
        matched = assigned > 0
        rows = labels.astype("float32").expand_dims(2)
        classes = take_rows(rows, ops.clamp(assigned - 1, 0, None)).squeeze(2).astype("int32") + 1
        classes = classes * matched.astype("int32")
        deltas = self._deltas(boxes, assigned, refined)
        if self.drops_positives:
            positive = ops.logical_and(matched, is_object)
            return classes, deltas, positive, ops.logical_not(positive)
        return classes, deltas, matched, ops.logical_and(assigned == 0, is_object)

    def _deltas(self, boxes: Tensor, assigned: Tensor, priors: Tensor) -> Tensor:
        # Anchors without an object encode themselves: finite, and zero.
        objects = take_rows(boxes, ops.clamp(assigned - 1, 0, None))
        matched = ops.where((assigned > 0).expand_dims(2), objects, priors)
        return ops.stop_gradient(self.coder.encode(priors, matched))

    def count_positives(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """Number of the ARM's positive anchors in the batch, a float32 scalar."""
        return self.arm(boxes, valid)[2].astype("float32").sum()
