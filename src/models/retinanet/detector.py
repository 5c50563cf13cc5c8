"""RetinaNet (Lin et al. 2017): a backbone with feature levels, a dense head, focal loss."""

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.detections import Detections
from src.blocks.losses import BoxLoss, LossWeights, SigmoidFocalLoss, box_loss
from src.blocks.post_processing import DenseGraphSelection, DensePostProcessor, DenseSelection
from src.models.prediction import Compiled, predict
from src.models.retinanet.targets import DenseTargets


class RetinaNet(nn.Cell):
    """One-stage detector; a `Detector` that `CountsPositives`.

    Args:
        backbone: images to a tuple of feature maps.
        bbox_head: levels to class logits and box deltas, a tuple of levels each.
        targets: what the anchors should predict.
        loss_cls: classification loss.
        loss_bbox: localization loss.
        weights: factors on them.
        selection: how raw outputs become detections.
        neck: feature maps to the levels that the head reads; None: those are the levels.
    """

    loss_names = ("loss_cls", "loss_bbox")

    def __init__(
        self,
        backbone: nn.Cell,
        bbox_head: nn.Cell,
        targets: DenseTargets,
        loss_cls: SigmoidFocalLoss,
        loss_bbox: BoxLoss,
        weights: LossWeights,
        selection: DenseSelection,
        neck: nn.Cell | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.bbox_head = bbox_head
        self.targets = targets
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.weights = weights
        anchors = (targets.level_anchors, targets.num_anchors, targets.coder)
        self.graph_selection = DenseGraphSelection(*anchors, selection)
        self.post_processor = DensePostProcessor(*anchors, selection)
        self.compiled_outputs = Compiled(self.dense_outputs)

    def extract_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Detector`."""
        features = self.backbone(images)
        return features if self.neck is None else self.neck(features)

    def dense_outputs(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Tuple of class logits [B,A*K,H/s,W/s] and tuple of box deltas [B,A*4,H/s,W/s], one per level."""
        return self.bbox_head(self.extract_features(images))

    def construct(self, images: Tensor, image_info: Tensor) -> tuple[Tensor, ...]:
        """The first four fields of `Detections`, wholly in the graph, for export; arguments as of `predict`."""
        logits, deltas = self.dense_outputs(images)
        return self.graph_selection(logits, deltas, image_info)

    def predict(self, images: np.ndarray | Tensor, image_info: np.ndarray | Tensor) -> Detections:
        """See `Detector`."""
        return predict(self, self.compiled_outputs, self.post_processor, images, image_info)

    def count_positives(
        self,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        image_info: Tensor | None = None,
    ) -> Tensor:
        """See `CountsPositives`."""
        return self.targets.count_positives(boxes, valid)

    def losses(
        self,
        images: Tensor,
        image_info: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        masks: Tensor | None = None,
        normalizer: Tensor | None = None,
        seed: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """See `Detector`; sums over the batch divided by the number of positive anchors."""
        logits, deltas = self.dense_outputs(images)
        classes, target_deltas, positive, counted = self.targets(boxes, labels, valid)
        if normalizer is None:
            normalizer = ops.clamp(positive.sum(), 1.0, None)
        loss_cls = self._classification(logits, classes, counted)
        loss_bbox = self._localization(deltas, target_deltas, positive)
        return {
            "loss_cls": loss_cls * (self.weights.loss_cls / normalizer),
            "loss_bbox": loss_bbox * (self.weights.loss_bbox / normalizer),
        }

    def _classification(self, logits: tuple[Tensor, ...], classes: Tensor, counted: Tensor) -> Tensor:
        """Sum of the focal loss over all anchors that are not ignored."""
        anchors = self.targets.num_anchors
        rows = _positions_last(logits, anchors)
        batch, _, num_classes, positions = rows.shape
        rows = rows.reshape(batch * anchors, num_classes, positions)
        return (self.loss_cls(rows, _channel_first(classes, anchors)) * _channel_first(counted, anchors)).sum()

    def _localization(self, deltas: tuple[Tensor, ...], target: Tensor, positive: Tensor) -> Tensor:
        """Sum of the box loss over all positive anchors."""
        anchors = self.targets.num_anchors
        rows = _positions_last(deltas, anchors).transpose(0, 3, 1, 2).reshape(target.shape)
        return (box_loss(self.loss_bbox, rows, target).sum(axis=2) * positive).sum()


def _positions_last(levels: tuple[Tensor, ...], anchors: int) -> Tensor:
    """A head's outputs [B,anchors*D,H,W] of all levels -> [B,anchors,D,S], S running over levels, rows and columns."""
    rows: tuple[Tensor, ...] = ()
    for level in levels:
        rows = rows + (level.reshape(level.shape[0], anchors, level.shape[1] // anchors, -1),)
    return ops.concat(rows, 3)


def _channel_first(values: Tensor, anchors: int) -> Tensor:
    """[B,S*anchors] -> [B*anchors,S]."""
    batch, count = values.shape
    return values.reshape(batch, count // anchors, anchors).transpose(0, 2, 1).reshape(batch * anchors, -1)
