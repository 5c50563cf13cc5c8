"""Which proposals train the second stage, and what they should predict."""

from typing import NamedTuple

from mindspore import Tensor, nn, ops

from src.blocks.assigners_samplers.max_iou_assigner import AssignerOptions, MaxIoUAssigner
from src.blocks.assigners_samplers.pairwise_matcher import PairwiseMatcher
from src.blocks.assigners_samplers.random_sampler import RandomSampler, SamplerOptions
from src.blocks.assigners_samplers.rows import flat_index, take_rows
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder

RCNN_ASSIGNER = AssignerOptions(0.5, 0.5, 0.5, False)
RCNN_SAMPLER = SamplerOptions(512, 0.25)


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

    rois: Tensor
    labels: Tensor
    weights: Tensor
    deltas: Tensor
    positive: Tensor
    matched: Tensor
    from_object: Tensor


class RCNNTargets(nn.Cell):
    """Assigns proposals to objects, chooses some of both kinds and encodes the objects.

    Args:
        num_proposals: proposals M per image.
        num_objects: rows N for objects per image.
        num_classes: K; the label K is the background.
        coder: encodes boxes.
        assigner: which proposals are positive or negative.
        sampler: how many of them train.
        add_gt_as_proposals: whether the objects' own boxes are proposals too, the first of them.
        table_seed: of the `RandomSampler`; stages of a cascade draw differently with different ones.

    Attributes:
        num_rois: rows S per image: the sampler's `num`, or all there are.
        max_positives: positives are among the first so many rows of an image.
    """

    def __init__(
        self,
        num_proposals: int,
        num_objects: int,
        num_classes: int,
        coder: DeltaXYWHBBoxCoder,
        assigner: AssignerOptions = RCNN_ASSIGNER,
        sampler: SamplerOptions = RCNN_SAMPLER,
        add_gt_as_proposals: bool = True,
        table_seed: int = 0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.coder = coder
        self.add_gt_as_proposals = add_gt_as_proposals
        self.assigner = MaxIoUAssigner(PairwiseMatcher(), assigner)
        num_priors = num_proposals + (num_objects if add_gt_as_proposals else 0)
        self.sampler = RandomSampler(num_priors, sampler, table_seed)
        self.num_rois = self.sampler.num
        self.max_positives = self.sampler.max_positives

    def construct(
        self,
        proposals: Tensor,
        proposal_valid: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        seed: Tensor,
    ) -> tuple[Tensor, ...]:
        """Regions and targets of a batch, without gradient.

        Args:
            proposals: float32 [B,M,4], x1 y1 x2 y2 in network pixels.
            proposal_valid: bool [B,M].
            boxes: float32 [B,N,4], the objects.
            labels: int32 [B,N], 0..K-1.
            valid: bool [B,N]; False for padding.
            seed: int32 scalar; another one draws anew.

        Returns:
            The fields of `RoITargets` as a plain tuple: graphs do not know the types of what a NamedTuple holds.
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

    def _own(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """The assignment of the objects' own boxes: each to itself, but those without area are ignored."""
        large = ops.logical_and(valid, (boxes[..., 2:] - boxes[..., :2]).min(axis=-1) > 0)
        number = ops.broadcast_to(ops.arange(1, boxes.shape[1] + 1).astype("int32"), valid.shape)
        return ops.where(large, number, -ops.ones_like(number))

    def _deltas(self, regions: Tensor, objects: Tensor, positive: Tensor) -> Tensor:
        """Encoded objects [B,S,4]; other rows encode a unit square by itself, which gives 0."""
        unit = ops.concat((ops.zeros_like(regions[..., :2]), ops.ones_like(regions[..., :2])), 2)
        chosen = positive.expand_dims(2)
        return self.coder.encode(ops.where(chosen, regions, unit), ops.where(chosen, objects, unit))
