"""RetinaNet (Lin et al. 2017): a backbone with feature levels, a dense head, focal loss."""

from typing import NamedTuple

from mindspore import nn, ops

from src.blocks.detections import Detections
from src.blocks.losses import BoxLoss, SigmoidFocalLoss, box_loss
from src.blocks.post_processing import DensePostProcessor, GraphSelection
from src.blocks.prediction import Compiled, as_array, as_tensor, evaluating
from src.models.retinanet.targets import DenseTargets


class Selection(NamedTuple):
    """How raw outputs become detections; see `DensePostProcessor`."""

    score_thr: float = 0.05
    nms_pre: int = 1000
    iou_threshold: float = 0.5
    max_per_img: int = 100
    min_bbox_size: float = 0.0


class RetinaNet(nn.Cell):
    """One-stage detector.

    Args:
        backbone: images to a tuple of feature maps.
        bbox_head: levels to class logits and box deltas, a tuple of levels each.
        targets: what the anchors should predict.
        loss_cls: classification loss.
        loss_cls_weight: factor on it.
        loss_bbox: localization loss.
        loss_bbox_weight: factor on it.
        selection: how raw outputs become detections.
        neck: feature maps to the levels that the head reads; None: those are the levels.
    """

    loss_names = ("loss_cls", "loss_bbox")
    divides_by_positives = True

    def __init__(
        self,
        backbone: nn.Cell,
        bbox_head: nn.Cell,
        targets: DenseTargets,
        loss_cls: SigmoidFocalLoss,
        loss_cls_weight: float,
        loss_bbox: BoxLoss,
        loss_bbox_weight: float,
        selection: Selection,
        neck: nn.Cell | None = None,
    ):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.bbox_head = bbox_head
        self.targets = targets
        self.loss_cls = loss_cls
        self.loss_cls_weight = loss_cls_weight
        self.loss_bbox = loss_bbox
        self.loss_bbox_weight = loss_bbox_weight
        self.graph_selection = GraphSelection(targets.level_anchors, targets.num_anchors, targets.coder, *selection)
        self.post_processor = DensePostProcessor(targets.level_anchors, targets.num_anchors, targets.coder, *selection)
        self.compiled_outputs = Compiled(self.dense_outputs)

    def extract_features(self, images):
        """Images [B,3,H,W] -> tuple of levels after the neck."""
        features = self.backbone(images)
        return features if self.neck is None else self.neck(features)

    def dense_outputs(self, images):
        """Raw outputs.

        Args:
            images: float32 [B,3,H,W], normalized.

        Returns:
            Tuple of class logits [B,A*K,H/s,W/s] and tuple of box deltas [B,A*4,H/s,W/s], a level each.
        """
        return self.bbox_head(self.extract_features(images))

    def construct(self, images, image_info):
        """Detections wholly in the graph, for export.

        Args:
            images: float32 [B,3,H,W].
            image_info: float32 [B,6]: original height, width; resized height, width; scale y, x.

        Returns:
            boxes [B,M,4], scores [B,M], labels int32 [B,M], valid bool [B,M], as in `Detections`.
        """
        logits, deltas = self.dense_outputs(images)
        return self.graph_selection(logits, deltas, image_info)

    def predict(self, images, image_info) -> Detections:
        """Detections of a batch: the network in a compiled graph, selection on the host.

        The network computes as in evaluation whatever mode it is in, and is left in that mode.

        Args:
            images: float32 [B,3,H,W], normalized; array or Tensor.
            image_info: float32 [B,6] as in `construct`; array or Tensor.
        """
        with evaluating(self):
            logits, deltas = self.compiled_outputs(as_tensor(images))
        rows = [[level.asnumpy() for level in output] for output in (logits, deltas)]
        return Detections(*self.post_processor(*rows, as_array(image_info)))

    def count_positives(self, boxes, labels, valid, image_info=None):
        """Number of positive anchors of a batch, a float32 scalar: what losses are divided by.

        It depends on the targets only, so that a trainer can sum it over micro-batches and devices beforehand.
        """
        return self.targets.count_positives(boxes, valid)

    def losses(self, images, image_info, boxes, labels, valid, masks=None, normalizer=None, seed=None):
        """Weighted losses of a batch.

        Args:
            images: float32 [B,3,H,W].
            image_info: not read by this detector.
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            labels: int32 [B,N], 0..K-1.
            valid: bool [B,N]; False for padding.
            masks: not read by this detector.
            normalizer: what the sums over the batch are divided by; None: the number of positives, at least 1.
            seed: not read by this detector.

        Returns:
            float32 scalars by the names in `loss_names`.
        """
        logits, deltas = self.dense_outputs(images)
        classes, target_deltas, positive, counted = self.targets(boxes, labels, valid)
        if normalizer is None:
            normalizer = ops.clamp(positive.sum(), 1.0, None)
        loss_cls = self._classification(logits, classes, counted) * (self.loss_cls_weight / normalizer)
        loss_bbox = self._localization(deltas, target_deltas, positive) * (self.loss_bbox_weight / normalizer)
        return {"loss_cls": loss_cls, "loss_bbox": loss_bbox}

    def _classification(self, logits, classes, counted):
        """Sum of the focal loss over all anchors that are not ignored."""
        anchors = self.targets.num_anchors
        logits = _positions_last(logits, anchors)
        batch, _, num_classes, positions = logits.shape
        logits = logits.reshape(batch * anchors, num_classes, positions)
        return (self.loss_cls(logits, _channel_first(classes, anchors)) * _channel_first(counted, anchors)).sum()

    def _localization(self, deltas, target, positive):
        """Sum of the box loss over all positive anchors."""
        anchors = self.targets.num_anchors
        deltas = _positions_last(deltas, anchors).transpose(0, 3, 1, 2).reshape(target.shape)
        return (box_loss(self.loss_bbox, deltas, target).sum(axis=2) * positive).sum()


def _positions_last(levels, anchors: int):
    """A head's outputs [B,anchors*D,H,W] of all levels -> [B,anchors,D,S], S running over levels, rows and columns."""
    rows = ()
    for level in levels:
        rows = rows + (level.reshape(level.shape[0], anchors, level.shape[1] // anchors, -1),)
    return ops.concat(rows, 3)


def _channel_first(values, anchors: int):
    """[B,S*anchors] -> [B*anchors,S]."""
    batch, count = values.shape
    return values.reshape(batch, count // anchors, anchors).transpose(0, 2, 1).reshape(batch * anchors, -1)
