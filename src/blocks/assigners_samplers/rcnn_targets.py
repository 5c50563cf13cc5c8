"""Which proposals train the second stage, and what they should predict."""

from typing import NamedTuple

import mindspore as ms
from mindspore import nn, ops

from src.blocks.assigners_samplers.max_iou_assigner import MaxIoUAssigner
from src.blocks.assigners_samplers.pairwise_matcher import PairwiseMatcher
from src.blocks.assigners_samplers.random_sampler import RandomSampler
from src.blocks.assigners_samplers.rows import flat_index, take_rows
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder


class RoITargets(NamedTuple):
    """S regions of each of B images with their targets; within an image positives, negatives, unused rows.

    Attributes:
        rois: float32 [B*S,5]; index of the image, x1 y1 x2 y2 in network pixels; no area where unused.
        labels: int32 [B*S]; the class 0..K-1 of a positive, K otherwise.
        weights: float32 [B*S]; 1 for positives and negatives, 0 for unused rows.
        deltas: float32 [B*S,4]; 0 where not positive.
        positive: float32 [B*S], 1 or 0.
        matched: int32 [B*S]; the object of a positive as an index into all B*N objects; otherwise any of its image.
        from_object: float32 [B*S]; 1 where the region is an object's own box, not a proposal.
    """

    rois: ms.Tensor
    labels: ms.Tensor
    weights: ms.Tensor
    deltas: ms.Tensor
    positive: ms.Tensor
    matched: ms.Tensor
    from_object: ms.Tensor


class RCNNTargets(nn.Cell):
    """Assigns proposals to objects, chooses some of both kinds and encodes the objects.

    Args:
        num_proposals: proposals M an image.
        num_objects: rows N for objects an image.
        num_classes: K; the label K is the background.
        coder: encodes boxes.
        pos_iou_thr, neg_iou_thr, min_pos_iou, match_low_quality: of the `MaxIoUAssigner`.
        num, pos_fraction, neg_pos_ub: of the `RandomSampler`.
        add_gt_as_proposals: whether the objects' own boxes are proposals too, the first of them.
        table_seed: of the `RandomSampler`; stages of a cascade draw differently with different ones.

    Attributes:
        num_rois: rows S an image: `num`, or all there are.
        max_positives: positives are among the first so many rows of an image.
    """

    def __init__(
        self,
        num_proposals: int,
        num_objects: int,
        num_classes: int,
        coder: DeltaXYWHBBoxCoder,
        pos_iou_thr: float = 0.5,
        neg_iou_thr: float = 0.5,
        min_pos_iou: float = 0.5,
        match_low_quality: bool = False,
        num: int = 512,
        pos_fraction: float = 0.25,
        neg_pos_ub: float = -1.0,
        add_gt_as_proposals: bool = True,
        table_seed: int = 0,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.coder = coder
        self.add_gt_as_proposals = add_gt_as_proposals
        self.assigner = MaxIoUAssigner(PairwiseMatcher(), pos_iou_thr, neg_iou_thr, min_pos_iou, match_low_quality)
        num_priors = num_proposals + (num_objects if add_gt_as_proposals else 0)
        self.sampler = RandomSampler(num_priors, num, pos_fraction, neg_pos_ub, table_seed)
        self.num_rois = self.sampler.num
        self.max_positives = self.sampler.max_positives

    def construct(self, proposals, proposal_valid, boxes, labels, valid, seed):
        """Regions and targets of a batch, without gradient.

        Args:
            proposals: float32 [B,M,4], x1 y1 x2 y2 in network pixels.
            proposal_valid: bool [B,M].
            boxes: float32 [B,N,4], the objects.
            labels: int32 [B,N], 0..K-1.
            valid: bool [B,N]; False for padding.
            seed: int32 scalar; another one draws anew.

        Returns:
            The fields of `RoITargets` as a plain tuple: a named one makes graphs forget its tensors' shapes.
        """
        batch, num_objects, _ = boxes.shape
        assigned = self.assigner(boxes, valid, proposals, proposal_valid)
        candidates = proposals
        if self.add_gt_as_proposals:
            candidates = ops.concat((boxes, proposals), 1)
            assigned = ops.concat((self._own(boxes, valid), assigned), 1)
        index, positive, negative = self.sampler.choose_rows(assigned, seed)
        used = ops.logical_or(positive, negative).astype("float32")
        regions = take_rows(candidates, index) * used.expand_dims(2)
        matched = ops.clamp(ops.gather_elements(assigned, 1, index) - 1, 0, None)
        deltas = self._deltas(regions, take_rows(boxes, matched), positive)
        matched = flat_index(matched, num_objects).reshape(-1)
        classes = ops.where(positive.reshape(-1), ops.gather(labels.reshape(-1), matched, 0), self.num_classes)
        image = ops.broadcast_to(ops.arange(batch).astype("float32").reshape(-1, 1, 1), (batch, self.num_rois, 1))
        own = used * (index < num_objects).astype("float32") if self.add_gt_as_proposals else ops.zeros_like(used)
        return (
            ops.stop_gradient(ops.concat((image, regions), 2).reshape(-1, 5)),
            classes.astype("int32"),
            used.reshape(-1),
            ops.stop_gradient(deltas).reshape(-1, 4),
            positive.astype("float32").reshape(-1),
            matched,
            own.reshape(-1),
        )

    def _own(self, boxes, valid):
        """The assignment of the objects' own boxes: each to itself, but those without area are ignored."""
        large = ops.logical_and(valid, (boxes[..., 2:] - boxes[..., :2]).min(axis=-1) > 0)
        number = ops.broadcast_to(ops.arange(1, boxes.shape[1] + 1).astype("int32"), valid.shape)
        return ops.where(large, number, -ops.ones_like(number))

    def _deltas(self, regions, objects, positive):
        """Encoded objects [B,S,4]; other rows encode a unit square by itself, which gives 0."""
        unit = ops.concat((ops.zeros_like(regions[..., :2]), ops.ones_like(regions[..., :2])), 2)
        chosen = positive.expand_dims(2)
        return self.coder.encode(ops.where(chosen, regions, unit), ops.where(chosen, objects, unit))
