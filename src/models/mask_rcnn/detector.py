"""Mask R-CNN (He et al. 2017) and, with several stages in its RoI head, Cascade Mask R-CNN (Cai & Vasconcelos 2018)."""

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.assigners_samplers import RPNTargets
from src.blocks.dense_heads import anchor_rows
from src.blocks.detections import Detections
from src.blocks.losses import BoxLoss, box_loss, sigmoid_cross_entropy
from src.blocks.post_processing import RoIGraphSelection, RoIPostProcessor, RoISelection
from src.blocks.prediction import Compiled, as_array, as_tensor, evaluating
from src.models.mask_rcnn.roi_head import RoIHead

MASK_ROW_STEP = 16  # prediction compiles the mask heads for multiples of it, not for each number of detections


class MaskRCNN(nn.Cell):
    """Two-stage detector with masks.

    Args:
        backbone: images to levels.
        neck: levels to the levels that both stages read.
        rpn_head: levels to objectness logits and box deltas, a tuple of levels each.
        rpn_targets: what the anchors should predict.
        rpn_loss_bbox: localization loss of the first stage.
        rpn_weights: factors of the first stage's objectness and localization loss.
        train_proposals: proposal generator in training.
        test_proposals: proposal generator in prediction.
        roi_head: second stage.
        selection: how the scores of RoIs become detections.
    """

    divides_by_positives = False

    def __init__(
        self,
        backbone: nn.Cell,
        neck: nn.Cell,
        rpn_head: nn.Cell,
        rpn_targets: RPNTargets,
        rpn_loss_bbox: BoxLoss,
        rpn_weights: tuple[float, float],
        train_proposals: nn.Cell,
        test_proposals: nn.Cell,
        roi_head: RoIHead,
        selection: RoISelection,
    ):
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.rpn_head = rpn_head
        self.rpn_targets = rpn_targets
        self.rpn_loss_bbox = rpn_loss_bbox
        self.rpn_weights = rpn_weights
        self.train_proposals = train_proposals
        self.test_proposals = test_proposals
        self.roi_head = roi_head
        self.loss_names = ("loss_rpn_cls", "loss_rpn_bbox", *roi_head.loss_names)
        self.graph_selection = RoIGraphSelection(selection)
        self.post_processor = RoIPostProcessor(selection)
        self.compiled_boxes = Compiled(self.scored_boxes)
        self.compiled_masks = Compiled(self._mask_probabilities)

    def extract_features(self, images):
        """Images [B,3,H,W] -> tuple of levels after the neck."""
        return self.neck(self.backbone(images))

    def dense_outputs(self, images):
        """Raw outputs of the region proposal network.

        Args:
            images: float32 [B,3,H,W], normalized.

        Returns:
            Tuple of objectness logits [B,A,H/s,W/s] and tuple of box deltas [B,A*4,H/s,W/s], a level each.
        """
        return self.rpn_head(self.extract_features(images))

    def construct(self, images, image_info):
        """Detections wholly in the graph, for export.

        Args:
            images: float32 [B,3,H,W].
            image_info: float32 [B,6]: original height, width; resized height, width; scale y, x.

        Returns:
            boxes [B,D,4], scores [B,D], labels int32 [B,D], valid bool [B,D], masks [B,D,28,28], as in `Detections`.
        """
        levels, scores, boxes = self.scored_boxes(images, image_info)
        boxes, scores, labels, valid = self.graph_selection(scores, boxes)
        masks = self.roi_head.mask_probabilities(levels, boxes, labels)
        scale = ops.stack((image_info[:, 5], image_info[:, 4]), 1).expand_dims(1)
        original = ops.stack((image_info[:, 1], image_info[:, 0]), 1).expand_dims(1)
        boxes = ops.minimum(boxes / ops.concat((scale, scale), 2), ops.concat((original, original), 2))
        return boxes, scores, labels, valid, masks

    def scored_boxes(self, images, image_info):
        """Levels of the neck, class scores [B,M,K] and boxes [B,M,K or 1,4] in network pixels."""
        levels = self.extract_features(images)
        logits, deltas = self.rpn_head(levels)
        proposals, _, valid = self.test_proposals(logits, deltas, image_info)
        return levels, *self.roi_head.scored_boxes(levels, proposals, valid, image_info)

    def predict(self, images, image_info) -> Detections:
        """Detections of a batch: the network in compiled graphs, suppression on the host.

        The network computes as in evaluation whatever mode it is in, and is left in that mode.

        Args:
            images: float32 [B,3,H,W], normalized; array or Tensor.
            image_info: float32 [B,6] as in `construct`; array or Tensor.
        """
        info = as_array(image_info)
        with evaluating(self):
            levels, scores, boxes = self.compiled_boxes(as_tensor(images), Tensor(info))
            boxes, scores, labels, valid = self.post_processor(scores.asnumpy(), boxes.asnumpy())
            masks = self._masks(levels, boxes, labels, valid)
        original = info[:, None, [1, 0, 1, 0]]
        boxes = np.clip(boxes / info[:, None, [5, 4, 5, 4]], 0, original)
        return Detections(boxes, scores, labels, valid, masks)

    def _masks(self, levels, boxes, labels, valid):
        """Masks [B,D,S,S] of detections in network pixels; computed for as many rows as are in use."""
        used = int(valid.sum(axis=1).max())
        rows = min(-(-max(used, 1) // MASK_ROW_STEP) * MASK_ROW_STEP, boxes.shape[1])
        found = self.compiled_masks(Tensor(boxes[:, :rows]), Tensor(labels[:, :rows]), *levels).asnumpy()
        masks = np.zeros((*boxes.shape[:2], *found.shape[2:]), np.float32)
        masks[:, :rows] = found * valid[:, :rows, None, None]
        return masks

    def _mask_probabilities(self, boxes, labels, *levels):
        return self.roi_head.mask_probabilities(levels, boxes, labels)

    def losses(self, images, image_info, boxes, labels, valid, masks=None, normalizer=None, seed=None):
        """Weighted losses of a batch.

        Args:
            images: float32 [B,3,H,W].
            image_info: float32 [B,6], see `construct`.
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            labels: int32 [B,N], 0..K-1.
            valid: bool [B,N]; False for padding.
            masks: uint8 [B,N,S,S] canvases around the objects, or [B,N,H,W] bitmaps; see `MaskTargets`.
            normalizer: not read: each loss is divided by the samples of its own batch.
            seed: int32 scalar; another one draws other anchors and RoIs. None: 0.

        Returns:
            float32 scalars by the names in `loss_names`.
        """
        seed = Tensor(0, ms.int32) if seed is None else seed
        levels = self.extract_features(images)
        logits, deltas = self.rpn_head(levels)
        values = self._rpn_losses(logits, deltas, self.rpn_targets(boxes, valid, image_info, seed))
        proposals, _, proposal_valid = self.train_proposals(logits, deltas, image_info)
        objects = (boxes, labels, valid, masks)
        values = values + self.roi_head.losses(levels, proposals, proposal_valid, image_info, objects, seed)
        terms = {}
        for i in range(len(self.loss_names)):
            terms[self.loss_names[i]] = values[i]
        return terms

    def count_positives(self, boxes, labels, valid, image_info):
        """Not asked for: each loss is divided by the samples of its own batch."""
        raise NotImplementedError

    def _rpn_losses(self, logits, deltas, targets):
        """Objectness and localization loss, both divided by the number of sampled anchors."""
        positive, weights, target_deltas, num_sampled = targets
        number = ops.clamp(num_sampled, 1.0, None)
        loss_cls = sigmoid_cross_entropy(anchor_rows(logits, 1).squeeze(2), positive) * weights
        loss_bbox = box_loss(self.rpn_loss_bbox, anchor_rows(deltas, 4), target_deltas).sum(axis=2) * positive
        weight_cls, weight_bbox = self.rpn_weights
        return loss_cls.sum() * (weight_cls / number), loss_bbox.sum() * (weight_bbox / number)
