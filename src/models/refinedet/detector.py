"""RefineDet (Zhang et al. 2018, arXiv:1711.06897): anchors that are refined once, then classified and refined again."""

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.detections import Detections
from src.blocks.losses.multibox_loss import MultiBoxLoss
from src.blocks.post_processing import MultiBoxGraphSelection, MultiBoxPostProcessor, MultiBoxSelection
from src.models.prediction import Compiled, predict
from src.models.refinedet.targets import RefineDetTargets


class RefineDet(nn.Cell):
    """One-stage detector with two sets of predictors; a `Detector` that `CountsPositives`.

    The anchor refinement module (ARM) tells objects from background and moves the anchors; the object detection module
    (ODM) classifies and moves what the ARM has made of them.

    Args:
        backbone: images to three feature maps.
        levels: feature maps to the ARM's levels.
        neck: the ARM's levels to the ODM's (transfer connection blocks).
        arm_head: the ARM's predictors, two scores per anchor.
        odm_head: the ODM's predictors, K + 1 scores per anchor.
        targets: what the anchors should predict.
        loss: loss of either module.
        selection: how scores become detections.
    """

    loss_names = ("arm_loc", "arm_conf", "odm_loc", "odm_conf")

    def __init__(
        self,
        backbone: nn.Cell,
        levels: nn.Cell,
        neck: nn.Cell,
        arm_head: nn.Cell,
        odm_head: nn.Cell,
        targets: RefineDetTargets,
        loss: MultiBoxLoss,
        selection: MultiBoxSelection,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.levels = levels
        self.neck = neck
        self.arm_head = arm_head
        self.odm_head = odm_head
        self.targets = targets
        self.loss = loss
        self.graph_selection = MultiBoxGraphSelection(selection)
        self.post_processor = MultiBoxPostProcessor(selection)
        self.compiled_outputs = Compiled(self.decoded_outputs)

    def extract_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """See `Detector`; the ODM's levels, [B,C,H/s,W/s] with s = 8, 16, 32, 64."""
        return self.neck(self.levels(self.backbone(images)))

    def dense_outputs(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Detector`.

        Returns:
            arm_loc [B,P,4], arm_conf [B,P,2], odm_loc [B,P,4] and odm_conf [B,P,K+1], deltas and scores before softmax,
            background first; P runs over levels, rows, columns and anchors.
        """
        levels = self.levels(self.backbone(images))
        arm_loc, arm_conf = self.arm_head(levels)
        odm_loc, odm_conf = self.odm_head(self.neck(levels))
        return arm_loc, arm_conf, odm_loc, odm_conf

    def decoded_outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and scores of all anchors, the raw form of exported files.

        Args:
            images: float32 [B,3,H,W], normalized.

        Returns:
            boxes float32 [B,P,4], x1 y1 x2 y2 in network pixels, not clipped; scores float32 [B,P,K], the foreground
            classes' probabilities, 0 where the ARM sees no object.
        """
        return self.decode(*self.dense_outputs(images))

    def decode(self, arm_loc: Tensor, arm_conf: Tensor, odm_loc: Tensor, odm_conf: Tensor) -> tuple[Tensor, Tensor]:
        """Raw outputs -> boxes and scores of all anchors as in `decoded_outputs`."""
        boxes = self.targets.coder.decode(self.targets.refine(arm_loc), odm_loc)
        is_object = self.targets.is_object(arm_conf).astype("float32").expand_dims(2)
        return boxes, ops.softmax(odm_conf, 2)[..., 1:] * is_object

    def construct(self, images: Tensor, image_info: Tensor) -> tuple[Tensor, ...]:
        """The first four fields of `Detections`, wholly in the graph, for export; at most 100 rows per image.

        Arguments as of `predict`.
        """
        boxes, scores = self.decoded_outputs(images)
        return self.graph_selection(boxes, scores, image_info)

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
        """See `CountsPositives`; the ARM's positives.

        The ODM's depend on what the ARM predicts, and are counted batch by batch.
        """
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
        """See `Detector`; the ODM's losses do not reach the ARM's deltas through the refined anchors.

        The ARM's sums over the batch are divided by the normalizer, the ODM's by the number of its own positives.
        """
        return self.losses_of_outputs(self.dense_outputs(images), boxes, labels, valid, normalizer)

    def losses_of_outputs(
        self,
        outputs: tuple[Tensor, Tensor, Tensor, Tensor],
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        normalizer: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`losses` of raw outputs."""
        arm_loc, arm_conf, odm_loc, odm_conf = outputs
        arm_loss_loc, arm_loss_conf, positives = self.loss(arm_loc, arm_conf, *self.targets.arm(boxes, valid))
        targets = self.targets.odm(boxes, labels, valid, arm_loc, arm_conf)
        odm_loss_loc, odm_loss_conf, odm_positives = self.loss(odm_loc, odm_conf, *targets)
        if normalizer is None:
            normalizer = ops.clamp(positives, 1.0, None)
        odm_normalizer = ops.clamp(odm_positives, 1.0, None)
        return {
            "arm_loc": arm_loss_loc / normalizer,
            "arm_conf": arm_loss_conf / normalizer,
            "odm_loc": odm_loss_loc / odm_normalizer,
            "odm_conf": odm_loss_conf / odm_normalizer,
        }
