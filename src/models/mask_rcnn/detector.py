"""Mask R-CNN (He et al. 2017) and, with several stages in its RoI head, Cascade Mask R-CNN (Cai & Vasconcelos 2018)."""

from collections.abc import Sequence
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.assigners_samplers import RPNTargets
from src.blocks.dense_heads import ProposalGenerator, RPNHead, anchor_rows
from src.blocks.detections import Detections
from src.blocks.losses import BoxLoss, LossWeights, box_loss, sigmoid_cross_entropy
from src.blocks.original_pixels import graph_to_original_pixels, to_original_pixels
from src.blocks.post_processing import RoIGraphSelection, RoIPostProcessor, RoISelection
from src.models.mask_rcnn.roi_head import RoIHead
from src.models.prediction import Compiled, as_array, as_tensor, evaluating

MASK_ROW_STEP = 16  # prediction compiles the mask heads for multiples of it, not for each number of detections


class FrameAnchors(NamedTuple):
    """Parts of the first stage that hold the anchors of one shape of images.

    Attributes:
        input_hw: height and width of the images.
        targets: what the anchors should predict.
        train_proposals: proposal generator in training.
        test_proposals: proposal generator in prediction.
    """

    input_hw: tuple[int, int]
    targets: RPNTargets
    train_proposals: ProposalGenerator
    test_proposals: ProposalGenerator


class RegionProposals(NamedTuple):
    """Parts of the first stage, the region proposal network.

    Attributes:
        head: levels to objectness logits and box deltas, a tuple of levels each.
        frames: parts with anchors, for each shape of images.
        loss_bbox: localization loss.
        weights: factors of the objectness and of the localization loss.
    """

    head: RPNHead
    frames: Sequence[FrameAnchors]
    loss_bbox: BoxLoss
    weights: LossWeights


class MaskRCNN(nn.Cell):
    """Two-stage detector with masks; a `Detector` whose losses are divided by the samples of their own batch.

    Args:
        backbone: images to levels.
        neck: levels to the levels that both stages read.
        rpn: first stage.
        roi_head: second stage.
        selection: how the scores of RoIs become detections.
    """

    def __init__(
        self,
        backbone: nn.Cell,
        neck: nn.Cell,
        rpn: RegionProposals,
        roi_head: RoIHead,
        selection: RoISelection,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.rpn_head = rpn.head
        self.rpn_loss_bbox = rpn.loss_bbox
        self.rpn_weights = rpn.weights
        self.input_shapes = tuple(frame.input_hw for frame in rpn.frames)
        self.rpn_targets = nn.CellList([frame.targets for frame in rpn.frames])
        self.train_proposals = nn.CellList([frame.train_proposals for frame in rpn.frames])
        self.test_proposals = nn.CellList([frame.test_proposals for frame in rpn.frames])
        self.roi_head = roi_head
        self.loss_names = ("loss_rpn_cls", "loss_rpn_bbox", *roi_head.loss_names)
        self.graph_selection = RoIGraphSelection(selection)
        self.post_processor = RoIPostProcessor(selection)
        self.compiled_boxes = Compiled(self.scored_boxes)
        self.compiled_masks = Compiled(self._mask_probabilities)

    def extract_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Detector`."""
        return self.neck(self.backbone(images))

    def dense_outputs(self, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The first stage's objectness logits [B,A,H/s,W/s] and box deltas [B,A*4,H/s,W/s], a tuple of levels each."""
        return self.rpn_head(self.extract_features(images))

    def construct(self, images: Tensor, image_info: Tensor) -> tuple[Tensor, ...]:
        """The fields of `Detections`, wholly in the graph, for export; arguments as of `predict`."""
        levels, scores, boxes = self.scored_boxes(images, image_info)
        boxes, scores, labels, valid = self.graph_selection(scores, boxes)
        masks = self.roi_head.mask_probabilities(levels, boxes, labels)
        return graph_to_original_pixels(boxes, image_info), scores, labels, valid, masks

    def scored_boxes(self, images: Tensor, image_info: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Levels of the neck, class scores [B,M,K] and boxes [B,M,K or 1,4] in network pixels."""
        levels = self.extract_features(images)
        logits, deltas = self.rpn_head(levels)
        proposals, _, valid = self.test_proposals[self._frame(images)](logits, deltas, image_info)
        return levels, *self.roi_head.scored_boxes(levels, proposals, valid, image_info)

    def _frame(self, images: Tensor) -> int:
        """Which of `input_shapes` the images have; known when the graph is compiled."""
        for index in range(len(self.input_shapes)):
            if images.shape[2:] == self.input_shapes[index]:
                return index
        raise ValueError(f"images are {images.shape[2:]} (height, width); the network takes {self.input_shapes}")

    def predict(self, images: np.ndarray | Tensor, image_info: np.ndarray | Tensor) -> Detections:
        """See `Detector`; suppression runs on the host."""
        info = as_array(image_info)
        with evaluating(self):
            levels, scores, boxes = self.compiled_boxes(as_tensor(images), Tensor(info))
            boxes, scores, labels, valid = self.post_processor(scores.asnumpy(), boxes.asnumpy())
            masks = self._masks(levels, boxes, labels, valid)
        return Detections(to_original_pixels(boxes, info), scores, labels, valid, masks)

    def _masks(
        self, levels: tuple[Tensor, ...], boxes: np.ndarray, labels: np.ndarray, valid: np.ndarray
    ) -> np.ndarray:
        """Masks [B,D,S,S] of detections in network pixels; computed for as many rows as are in use."""
        used = int(valid.sum(axis=1).max())
        rows = min(-(-max(used, 1) // MASK_ROW_STEP) * MASK_ROW_STEP, boxes.shape[1])
        found = self.compiled_masks(Tensor(boxes[:, :rows]), Tensor(labels[:, :rows]), *levels).asnumpy()
        masks = np.zeros((*boxes.shape[:2], *found.shape[2:]), np.float32)
        masks[:, :rows] = found * valid[:, :rows, None, None]
        return masks

    def _mask_probabilities(self, boxes: Tensor, labels: Tensor, *levels: Tensor) -> Tensor:
        return self.roi_head.mask_probabilities(levels, boxes, labels)

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
        """See `Detector`; each loss is divided by the samples of its own batch."""
        seed = Tensor(0, ms.int32) if seed is None else seed
        frame = self._frame(images)
        levels = self.extract_features(images)
        logits, deltas = self.rpn_head(levels)
        values = self._rpn_losses(logits, deltas, self.rpn_targets[frame](boxes, valid, image_info, seed))
        proposals, _, proposal_valid = self.train_proposals[frame](logits, deltas, image_info)
        objects = (boxes, labels, valid, masks)
        values = values + self.roi_head.losses(levels, proposals, proposal_valid, image_info, objects, seed)
        terms = {}
        for i in range(len(self.loss_names)):
            terms[self.loss_names[i]] = values[i]
        return terms

    def _rpn_losses(
        self, logits: tuple[Tensor, ...], deltas: tuple[Tensor, ...], targets: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Objectness and localization loss, both divided by the number of sampled anchors (see `AnchorTargets`)."""
        positive, weights, target_deltas, num_sampled = targets
        number = ops.clamp(num_sampled, 1.0, None)
        loss_cls = sigmoid_cross_entropy(anchor_rows(logits, 1).squeeze(2), positive) * weights
        loss_bbox = box_loss(self.rpn_loss_bbox, anchor_rows(deltas, 4), target_deltas).sum(axis=2) * positive
        factors = self.rpn_weights
        return loss_cls.sum() * (factors.loss_cls / number), loss_bbox.sum() * (factors.loss_bbox / number)
