"""What a one-stage detector's anchors should predict."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.anchor_generator import AnchorGenerator
from src.blocks.assigners_samplers import AssignerOptions, GridMatcher, MaxIoUAssigner, PseudoSampler
from src.blocks.assigners_samplers.rows import take_rows
from src.blocks.bbox_coders import DeltaXYWHBBoxCoder


class DenseTargets(nn.Cell):
    """Assigns a fixed grid's anchors to the objects and encodes these.

    Args:
        generator: the anchors.
        sizes: rows and columns of each level.
        coder: encodes boxes.
        assigner: which anchors are positive or negative.
    """

    def __init__(
        self,
        generator: AnchorGenerator,
        sizes: Sequence[tuple[int, int]],
        coder: DeltaXYWHBBoxCoder,
        assigner: AssignerOptions,
    ) -> None:
        super().__init__()
        self.num_anchors = generator.num_base_anchors
        self.level_anchors = generator.grid_anchors(sizes)
        self.anchors = Tensor(np.concatenate(self.level_anchors))
        self.coder = coder
        self.assigner = MaxIoUAssigner(GridMatcher(generator, sizes), assigner)
        self.sampler = PseudoSampler()

    def construct(self, boxes: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Targets of a batch, without gradient.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            labels: int32 [B,N].
            valid: bool [B,N]; False for padding.

        Returns:
            labels: int32 [B,P]; the class of a positive, -1 otherwise.
            deltas: float32 [B,P,4]; 0 where not positive.
            positive: float32 [B,P], 1 or 0.
            counted: float32 [B,P]; 1 for positives and negatives, 0 for ignored anchors.
        """
        assigned = self.assigner(boxes, valid)
        positive, negative = self.sampler(assigned)
        index = ops.clamp(assigned - 1, 0, None)
        objects = take_rows(ops.concat((boxes, labels.astype("float32").expand_dims(2)), 2), index)
        anchors = self.anchors.expand_dims(0)
        # Anchors without an object encode themselves: finite, and zero.
        matched = ops.where(positive.expand_dims(2), objects[..., :4], anchors)
        deltas = self.coder.encode(anchors, matched)
        chosen = positive.astype("int32")
        classes = objects[..., 4].astype("int32") * chosen - (1 - chosen)
        counted = ops.logical_or(positive, negative).astype("float32")
        return classes, ops.stop_gradient(deltas), positive.astype("float32"), counted

    def count_positives(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """Number of positive anchors in the batch, a float32 scalar."""
        return (self.assigner(boxes, valid) > 0).astype("float32").sum()
