"""Second stage of Mask R-CNN, and the stages of its cascade: boxes, classes and masks of regions of interest."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.assigners_samplers import RCNNTargets
from src.blocks.image_info import resized_hw
from src.blocks.losses import BoxLoss, box_loss, sigmoid_cross_entropy, softmax_cross_entropy
from src.blocks.mask_heads import MaskTargets
from src.blocks.original_pixels import width_height


class RoILossWeights(NamedTuple):
    """Factors of a stage's losses."""

    loss_cls: float = 1.0
    loss_bbox: float = 1.0
    loss_mask: float = 1.0


class RoIStage(NamedTuple):
    """One stage of heads.

    Attributes:
        bbox_head: regions' features to class logits and box deltas.
        mask_head: regions' features to mask logits.
        targets: what both should predict; holds the stage's box coder.
        weights: factors of the stage's losses.
    """

    bbox_head: nn.Cell
    mask_head: nn.Cell
    targets: RCNNTargets
    weights: RoILossWeights


class RoIHead(nn.Cell):
    """One stage of heads (Mask R-CNN), or several that refine each other's boxes (Cascade Mask R-CNN).

    With one stage the heads are `bbox_head` and `mask_head`, as in mmdetection's StandardRoIHead; with several they are
    `bbox_head.0`, `bbox_head.1`, ..., as in its CascadeRoIHead.

    Args:
        stages: the heads.
        bbox_extractor: pools RoIs for the box heads.
        mask_extractor: pools RoIs for the mask heads.
        mask_targets: what the mask heads should predict.
        bbox_loss: localization loss.
        max_mask_rois: most RoIs per image that train the mask heads.
        class_agnostic: whether the box heads give one box for all classes.
    """

    def __init__(
        self,
        stages: Sequence[RoIStage],
        bbox_extractor: nn.Cell,
        mask_extractor: nn.Cell,
        mask_targets: MaskTargets,
        bbox_loss: BoxLoss,
        max_mask_rois: int,
        class_agnostic: bool,
    ) -> None:
        super().__init__()
        bbox_heads, mask_heads, targets, weights = (list(part) for part in zip(*stages, strict=True))
        self.num_stages = len(stages)
        self.bbox_head = nn.CellList(bbox_heads) if self.num_stages > 1 else bbox_heads[0]
        self.mask_head = nn.CellList(mask_heads) if self.num_stages > 1 else mask_heads[0]
        self.bbox_extractor = bbox_extractor
        self.mask_extractor = mask_extractor
        self.targets = nn.CellList(targets)
        self.mask_targets = mask_targets
        self.bbox_loss = bbox_loss
        self.weights = tuple(weights)
        self.num_classes = targets[0].num_classes
        self.class_agnostic = class_agnostic
        self.classes = Tensor(np.arange(self.num_classes, dtype=np.int32))
        self.mask_rows = tuple(min(target.max_positives, target.num_rois, max_mask_rois) for target in targets)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """Names of the losses, in the order in which `losses` returns them."""
        names = RoILossWeights._fields
        if self.num_stages == 1:
            return names
        return tuple(f"s{stage}.{name}" for stage in range(self.num_stages) for name in names)

    def losses(
        self,
        levels: tuple[Tensor, ...],
        proposals: Tensor,
        proposal_valid: Tensor,
        image_info: Tensor,
        objects: tuple[Tensor, ...],
        seed: Tensor,
    ) -> tuple[Tensor, ...]:
        """Weighted losses of a batch.

        Args:
            levels: feature maps of the neck.
            proposals: float32 [B,M,4], x1 y1 x2 y2 in network pixels.
            proposal_valid: bool [B,M].
            image_info: float32 [B,6], see `src.blocks.image_info`.
            objects: boxes float32 [B,N,4], labels int32 [B,N], valid bool [B,N] and masks uint8 (see `MaskTargets`).
            seed: int32 scalar, of the random choice of RoIs.

        Returns:
            float32 scalars in the order of `loss_names`.
        """
        boxes, labels, valid, masks = objects
        size = width_height(resized_hw(image_info)).expand_dims(1)
        terms: tuple[Tensor, ...] = ()
        for stage in range(self.num_stages):
            targets = self.targets[stage](proposals, proposal_valid, boxes, labels, valid, seed + stage)
            rois, classes, sampled, target_deltas, positive, matched, from_object = targets  # see `RoITargets`
            logits, deltas = self._box_outputs(stage, levels, rois)
            weights = self.weights[stage]
            loss_cls, loss_bbox = self._box_losses(logits, deltas, (classes, sampled, target_deltas, positive))
            loss_mask = self._mask_loss(stage, levels, boxes, masks, (rois, classes, positive, matched))
            terms = terms + (
                loss_cls * weights.loss_cls,
                loss_bbox * weights.loss_bbox,
                loss_mask * weights.loss_mask,
            )
            if stage + 1 < self.num_stages:
                # The next stage learns from this one's boxes; objects' own boxes are added to them anew.
                regions = rois[:, 1:].reshape(boxes.shape[0], -1, 4)
                refined = self.targets[stage].coder.decode(regions, deltas.reshape(regions.shape), size)
                proposals = ops.stop_gradient(refined)
                proposal_valid = (sampled * (1 - from_object)).reshape(regions.shape[:2]) > 0
        return terms

    def scored_boxes(
        self, levels: tuple[Tensor, ...], proposals: Tensor, proposal_valid: Tensor, image_info: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Class scores and boxes of proposals.

        Args:
            levels: feature maps of the neck.
            proposals: float32 [B,M,4], x1 y1 x2 y2 in network pixels.
            proposal_valid: bool [B,M].
            image_info: float32 [B,6], see `src.blocks.image_info`.

        Returns:
            scores float32 [B,M,K], 0 for proposals that are not valid, and boxes float32 [B,M,K,4], or [B,M,1,4] where
            boxes do not depend on the class, in network pixels inside the resized image.
        """
        batch, count, _ = proposals.shape
        size = width_height(resized_hw(image_info)).reshape(batch, 1, 1, 2)
        logits = 0.0
        boxes = proposals.expand_dims(2)
        for stage in range(self.num_stages):
            stage_logits, deltas = self._box_outputs(stage, levels, with_image_index(boxes.reshape(batch, count, 4)))
            logits = logits + stage_logits
            boxes = self.targets[stage].coder.decode(boxes, deltas.reshape(batch, count, -1, 4), size)
        scores = ops.softmax(logits / self.num_stages, -1).reshape(batch, count, -1)[..., : self.num_classes]
        return scores * proposal_valid.astype("float32").expand_dims(2), boxes

    def mask_probabilities(self, levels: tuple[Tensor, ...], boxes: Tensor, labels: Tensor) -> Tensor:
        """Probabilities of the labelled class inside boxes, averaged over the stages.

        Args:
            levels: feature maps of the neck.
            boxes: float32 [B,D,4], x1 y1 x2 y2 in network pixels.
            labels: int32 [B,D].

        Returns:
            float32 [B,D,28,28].
        """
        features = self.mask_extractor(levels, with_image_index(boxes))
        total: Any = 0.0
        for stage in range(self.num_stages):
            total = total + ops.sigmoid(self._mask_logits(stage, features, labels.reshape(-1)))
        return (total / self.num_stages).reshape(boxes.shape[:2] + total.shape[1:])

    def _box_outputs(self, stage: int, levels: tuple[Tensor, ...], rois: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits [R,K+1] and deltas [R,4K or 4] of RoIs [R,5]."""
        features = self.bbox_extractor(levels, rois)
        if self.num_stages == 1:
            return self.bbox_head(features)
        return self.bbox_head[stage](features)

    def _mask_logits(self, stage: int, features: Tensor, labels: Tensor, present: Tensor | None = None) -> Tensor:
        """Logits [R,28,28] of the labelled class; of any class for the background, where nothing reads them."""
        labels = ops.minimum(ops.maximum(labels, 0), self.num_classes - 1)
        if self.num_stages == 1:
            return self.mask_head.class_logits(features, labels, present)
        return self.mask_head[stage].class_logits(features, labels, present)

    def _box_losses(self, logits: Tensor, deltas: Tensor, targets: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Classification and localization loss, both divided by the number of RoIs."""
        classes, sampled, target_deltas, positive = targets
        number = ops.clamp(sampled.sum(), 1.0, None)
        loss_cls = (softmax_cross_entropy(logits, classes) * sampled).sum() / number
        if not self.class_agnostic:
            own = (classes.expand_dims(1) == self.classes).astype("float32").expand_dims(2)
            deltas = (deltas.reshape(-1, self.num_classes, 4) * own).sum(axis=1)
        loss_bbox = box_loss(self.bbox_loss, deltas, target_deltas).sum(axis=1) * positive
        return loss_cls, loss_bbox.sum() / number

    def _mask_loss(
        self, stage: int, levels: tuple[Tensor, ...], boxes: Tensor, masks: Tensor, targets: tuple[Tensor, ...]
    ) -> Tensor:
        """Mean over the positives, which are among the first rows of each image; the others are hardly computed."""
        chosen: tuple[Tensor, ...] = ()
        for values in targets:
            chosen = chosen + (_first_rows(values, boxes.shape[0], self.mask_rows[stage]),)
        if boxes.shape[0] > 1:
            chosen = _positives_first(*chosen)
        rois, classes, positive, matched = chosen
        present = positive.sum(keepdims=True).astype("int32")
        rois = rois * positive.expand_dims(1)  # the others without area: they take no time to pool
        logits = self._mask_logits(stage, self.mask_extractor(levels, rois), classes, present)
        losses = sigmoid_cross_entropy(logits, self.mask_targets(masks, boxes, rois, matched)).mean(axis=(1, 2))
        return (losses * positive).sum() / ops.clamp(positive.sum(), 1.0, None)


def with_image_index(boxes: Tensor) -> Tensor:
    """`boxes` [B,M,4] -> RoIs [B*M,5] with the index of their image first."""
    batch, count, _ = boxes.shape
    image = ops.arange(batch).astype(boxes.dtype).reshape(batch, 1, 1)
    return ops.concat((ops.broadcast_to(image, (batch, count, 1)), boxes), 2).reshape(-1, 5)


def _positives_first(rois: Tensor, classes: Tensor, positive: Tensor, matched: Tensor) -> tuple[Tensor, ...]:
    """The same rows, those of the positives before the others."""
    _, order = ops.topk(positive, positive.shape[0])
    return tuple(ops.gather(values, order, 0) for values in (rois, classes, positive, matched))


def _first_rows(values: Tensor, batch: int, count: int) -> Tensor:
    """The first `count` of each image's rows: [B*S,...] -> [B*count,...]."""
    rows = values.reshape((batch, -1) + values.shape[1:])[:, :count]
    return rows.reshape((batch * count,) + values.shape[1:])
