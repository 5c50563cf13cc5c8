"""The raw form of exported files: decoded boxes and scores of all candidates, a cell for each kind of detector."""

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.dense_heads import anchor_rows
from src.blocks.detectors.mask_rcnn import MaskRCNN
from src.blocks.detectors.refinedet import RefineDet
from src.blocks.detectors.retinanet import RetinaNet


class RetinaNetDecoded(nn.Cell):
    """Boxes and scores of all anchors of a RetinaNet.

    Attributes:
        level_sizes: number of anchors of each level; their sum is N.
        input_names: what `construct` takes.
    """

    input_names = ("image",)

    def __init__(self, net: RetinaNet):
        super().__init__(auto_prefix=False)
        self.net = net
        self.anchors = net.targets.anchors
        self.num_anchors = net.targets.num_anchors
        self.coder = net.targets.coder
        self.level_sizes = [len(level) for level in net.targets.level_anchors]

    def construct(self, image):
        """image float32 [B,3,H,W] -> boxes [B,N,4], x1 y1 x2 y2 in network pixels, not clipped; scores [B,N,K].

        N runs over levels, rows, columns and anchors.
        """
        logits, deltas = self.net.dense_outputs(image)
        logits = anchor_rows(logits, logits[0].shape[1] // self.num_anchors)
        return self.coder.decode(self.anchors, anchor_rows(deltas, 4)), ops.sigmoid(logits)


class RefineDetDecoded(nn.Cell):
    """Boxes and scores of all anchors of a RefineDet; attributes as of `RetinaNetDecoded`."""

    input_names = ("image",)

    def __init__(self, net: RefineDet):
        super().__init__(auto_prefix=False)
        self.net = net
        self.level_sizes = [net.targets.anchors.shape[0]]

    def construct(self, image):
        """image float32 [B,3,H,W] -> boxes [B,N,4], x1 y1 x2 y2 in network pixels, not clipped; scores [B,N,K]."""
        return self.net.decoded_outputs(image)


class MaskRCNNDecoded(nn.Cell):
    """Boxes and scores of all regions of a Mask R-CNN or Cascade Mask R-CNN; its masks are left out.

    Where boxes depend on the class, each (region, class) pair is a row of its own, with a score in its class's column.
    Attributes as of `RetinaNetDecoded`.
    """

    input_names = ("image", "image_info")

    def __init__(self, net: MaskRCNN):
        super().__init__(auto_prefix=False)
        self.net = net
        head = net.roi_head
        self.agnostic = head.class_agnostic
        regions = net.test_proposals.max_per_img
        self.level_sizes = [regions if self.agnostic else regions * head.num_classes]
        self.own = Tensor(np.eye(head.num_classes, dtype=np.float32))

    def construct(self, image, image_info):
        """image float32 [B,3,H,W], image_info float32 [B,6] -> boxes [B,N,4] in network pixels; scores [B,N,K]."""
        _, scores, boxes = self.net.scored_boxes(image, image_info)
        batch, _, classes = scores.shape
        if not self.agnostic:
            scores = (scores.expand_dims(3) * self.own).reshape(batch, -1, classes)
        return boxes.reshape(batch, -1, 4), scores


DECODED = {
    "retinanet": RetinaNetDecoded,
    "mask_rcnn": MaskRCNNDecoded,
    "cascade_mask_rcnn": MaskRCNNDecoded,
    "refinedet": RefineDetDecoded,
}


def decoded_outputs(net: nn.Cell, detector: str) -> nn.Cell:
    """The raw form of a detector; `detector` is the configuration's."""
    return DECODED[detector](net)
