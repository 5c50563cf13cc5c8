"""The raw form of exported Mask R-CNNs: boxes and scores of all regions."""

import numpy as np
from mindspore import Tensor, nn

from src.models.mask_rcnn.detector import MaskRCNN


class MaskRCNNDecoded(nn.Cell):
    """Boxes and scores of all regions of a Mask R-CNN or Cascade Mask R-CNN; its masks are left out.

    Where boxes depend on the class, each (region, class) pair is a row of its own, with a score in its class's column.
    Attributes as of `RetinaNetDecoded`.
    """

    input_names = ("image", "image_info")

    def __init__(self, net: MaskRCNN) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        head = net.roi_head
        self.agnostic = head.class_agnostic
        regions = net.test_proposals[0].max_per_img
        self.level_sizes = [regions if self.agnostic else regions * head.num_classes]
        self.own = Tensor(np.eye(head.num_classes, dtype=np.float32))

    def construct(self, image: Tensor, image_info: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B,N,4] in network pixels and scores [B,N,K] of image float32 [B,3,H,W], image_info float32 [B,6]."""
        _, scores, boxes = self.net.scored_boxes(image, image_info)
        batch, _, classes = scores.shape
        if not self.agnostic:
            scores = (scores.expand_dims(3) * self.own).reshape(batch, -1, classes)
        return boxes.reshape(batch, -1, 4), scores
