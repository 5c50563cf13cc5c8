"""What the anchors of a region proposal network should predict."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers.grid_matcher import GridMatcher
from src.blocks.assigners_samplers.max_iou_assigner import AssignerOptions, MaxIoUAssigner
from src.blocks.assigners_samplers.random_sampler import RandomSampler, SamplerOptions
from src.blocks.assigners_samplers.rows import take_rows
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.image_info import resized_hw

RPN_ASSIGNER = AssignerOptions(0.7, 0.3, 0.3, True)
RPN_SAMPLER = SamplerOptions(256, 0.5)


class AnchorTargets(NamedTuple):
    """Targets of all P anchors of a batch, ordered by level, y, x, anchor.

    Attributes:
        labels: float32 [B,P]; 1 for the chosen anchors of an object, else 0. Also the weight of the box loss.
        weights: float32 [B,P]; 1 for the chosen anchors, else 0: the weight of the objectness loss.
        deltas: float32 [B,P,4]; 0 where the label is 0.
        num_sampled: float32 scalar, chosen anchors of the batch: what both losses are divided by.
    """

    labels: Tensor
    weights: Tensor
    deltas: Tensor
    num_sampled: Tensor


class RPNTargets(nn.Cell):
    """Assigns the anchors to the objects, chooses some of both kinds and encodes the objects.

    Args:
        generator: the anchors.
        sizes: rows and columns of each level.
        coder: encodes boxes.
        assigner: which anchors are positive or negative.
        sampler: how many of them train.
        allowed_border: pixels by which anchors may leave the image before they are ignored; negative: any number.
    """

    def __init__(
        self,
        generator: AnchorGenerator,
        sizes: Sequence[tuple[int, int]],
        coder: DeltaXYWHBBoxCoder,
        assigner: AssignerOptions = RPN_ASSIGNER,
        sampler: SamplerOptions = RPN_SAMPLER,
        allowed_border: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_anchors = generator.num_base_anchors
        self.level_anchors = generator.grid_anchors(sizes)
        self.anchors = Tensor(np.concatenate(self.level_anchors))
        self.coder = coder
        self.allowed_border = allowed_border
        self.matcher = GridMatcher(generator, sizes)
        self.assigner = MaxIoUAssigner(self.matcher, assigner)
        self.sampler = RandomSampler(self.anchors.shape[0], sampler)

    def construct(self, boxes: Tensor, valid: Tensor, image_info: Tensor, seed: Tensor) -> tuple[Tensor, ...]:
        """Targets of a batch, without gradient.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            valid: bool [B,N]; False for padding.
            image_info: float32 [B,6], see `src.blocks.image_info`.
            seed: int32 scalar; another one draws anew.

        Returns:
            The fields of `AnchorTargets` as a plain tuple: graphs do not know the types of what a NamedTuple holds.
        """
        usable = None if self.allowed_border < 0 else self.matcher.inside(resized_hw(image_info), self.allowed_border)
        assigned = self.assigner(boxes, valid, None, usable)
        positive, negative = self.sampler(assigned, seed)
        anchors = self.anchors.expand_dims(0)
        # Anchors without an object encode themselves: finite, and zero.
        matched = ops.where(positive.expand_dims(2), take_rows(boxes, ops.clamp(assigned - 1, 0, None)), anchors)
        deltas = ops.stop_gradient(self.coder.encode(anchors, matched))
        weights = ops.logical_or(positive, negative).astype("float32")
        return positive.astype("float32"), weights, deltas, weights.sum()
