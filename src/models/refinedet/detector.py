"""RefineDet (Zhang et al. 2018, arXiv:1711.06897): anchors that are refined once, then classified and refined again."""

from mindspore import nn, ops

from src.blocks.detections import Detections
from src.blocks.losses.multibox_loss import MultiBoxLoss
from src.blocks.post_processing import MultiBoxGraphSelection, MultiBoxPostProcessor, MultiBoxSelection
from src.blocks.prediction import Compiled, as_array, as_tensor, evaluating
from src.models.refinedet.targets import RefineDetTargets


class RefineDet(nn.Cell):
    """One-stage detector with two sets of predictors.

    The anchor refinement module (ARM) tells objects from background and moves the anchors; the object detection module
    (ODM) classifies and moves what the ARM has made of them.

    Args:
        backbone: images to three feature maps.
        levels: feature maps to the ARM's levels.
        neck: the ARM's levels to the ODM's (transfer connection blocks).
        arm_head: the ARM's predictors, two scores an anchor.
        odm_head: the ODM's predictors, K + 1 scores an anchor.
        targets: what the anchors should predict.
        loss: loss of either module.
        selection: how scores become detections.
    """

    loss_names = ("arm_loc", "arm_conf", "odm_loc", "odm_conf")
    divides_by_positives = True

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
    ):
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

    def extract_features(self, images):
        """Images [B,3,H,W] -> tuple of the ODM's levels, [B,C,H/s,W/s] with s = 8, 16, 32, 64."""
        return self.neck(self.levels(self.backbone(images)))

    def dense_outputs(self, images):
        """Raw outputs.

        Args:
            images: float32 [B,3,H,W], normalized.

        Returns:
            arm_loc [B,P,4], arm_conf [B,P,2], odm_loc [B,P,4] and odm_conf [B,P,K+1], deltas and scores before softmax,
            background first; P runs over levels, rows, columns and anchors.
        """
        levels = self.levels(self.backbone(images))
        arm_loc, arm_conf = self.arm_head(levels)
        odm_loc, odm_conf = self.odm_head(self.neck(levels))
        return arm_loc, arm_conf, odm_loc, odm_conf

    def decoded_outputs(self, images):
        """Boxes and scores of all anchors, the raw form of exported files.

        Args:
            images: float32 [B,3,H,W], normalized.

        Returns:
            boxes float32 [B,P,4], x1 y1 x2 y2 in network pixels, not clipped; scores float32 [B,P,K], the foreground
            classes' probabilities, 0 where the ARM sees no object.
        """
        return self.decode(*self.dense_outputs(images))

    def decode(self, arm_loc, arm_conf, odm_loc, odm_conf):
        """Raw outputs -> boxes and scores of all anchors as in `decoded_outputs`."""
        boxes = self.targets.coder.decode(self.targets.refine(arm_loc), odm_loc)
        is_object = self.targets.is_object(arm_conf).astype("float32").expand_dims(2)
        return boxes, ops.softmax(odm_conf, 2)[..., 1:] * is_object

    def construct(self, images, image_info):
        """Detections wholly in the graph, for export.

        Args:
            images: float32 [B,3,H,W].
            image_info: float32 [B,6]: original height, width; resized height, width; scale y, x.

        Returns:
            boxes [B,M,4], scores [B,M], labels int32 [B,M], valid bool [B,M], as in `Detections`; M is at most 100.
        """
        boxes, scores = self.decoded_outputs(images)
        return self.graph_selection(boxes, scores, image_info)

    def predict(self, images, image_info) -> Detections:
        """Detections of a batch: the network in a compiled graph, selection on the host.

        The network computes as in evaluation whatever mode it is in, and is left in that mode.

        Args:
            images: float32 [B,3,H,W], normalized; array or Tensor.
            image_info: float32 [B,6] as in `construct`; array or Tensor.
        """
        with evaluating(self):
            boxes, scores = self.compiled_outputs(as_tensor(images))
        return Detections(*self.post_processor(boxes.asnumpy(), scores.asnumpy(), as_array(image_info)))

    def count_positives(self, boxes, labels, valid, image_info=None):
        """Number of the ARM's positive anchors of a batch, a float32 scalar: what its losses are divided by.

        It depends on the targets only, so that a trainer can sum it over micro-batches and devices beforehand. The
        ODM's positives depend on what the ARM predicts, and are counted batch by batch.
        """
        return self.targets.count_positives(boxes, valid)

    def losses(self, images, image_info, boxes, labels, valid, masks=None, normalizer=None, seed=None):
        """Losses of a batch; the ODM's do not reach the ARM's deltas through the refined anchors.

        Args:
            images: float32 [B,3,H,W].
            image_info: not read by this detector.
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            labels: int32 [B,N], 0..K-1.
            valid: bool [B,N]; False for padding.
            masks: not read by this detector.
            normalizer: what the ARM's sums over the batch are divided by; None: the number of its positives, at least
                1. The ODM's are divided by its own.
            seed: not read by this detector.

        Returns:
            float32 scalars by the names in `loss_names`; finite without objects.
        """
        return self.losses_of_outputs(self.dense_outputs(images), boxes, labels, valid, normalizer)

    def losses_of_outputs(self, outputs, boxes, labels, valid, normalizer=None):
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
