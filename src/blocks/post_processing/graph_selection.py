"""From a dense head's raw outputs to detections, in the graph."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.post_processing.multiclass_nms import MulticlassNMS


class GraphSelection(nn.Cell):
    """`DensePostProcessor` in fixed-shape operators, for exported networks.

    Args:
        anchors: float32 [P_l,4] of each level, ordered by y, x, anchor.
        num_anchors: anchors A a position.
        coder: decodes deltas.
        score_thr, nms_pre, iou_threshold, max_per_img, min_bbox_size: as in `DensePostProcessor`.
    """

    def __init__(
        self,
        anchors: Sequence[np.ndarray],
        num_anchors: int,
        coder: DeltaXYWHBBoxCoder,
        score_thr: float,
        nms_pre: int,
        iou_threshold: float,
        max_per_img: int,
        min_bbox_size: float = 0.0,
    ):
        super().__init__()
        self.anchors = [Tensor(level) for level in anchors]
        self.num_anchors = num_anchors
        self.coder = coder
        self.score_thr = score_thr
        self.nms_pre = nms_pre
        self.min_bbox_size = min_bbox_size
        self.nms = MulticlassNMS(iou_threshold, max_per_img)

    def construct(self, logits, deltas, image_info):
        """Detections of a batch.

        Args:
            logits: float32 [B,A*K,H,W] of each level.
            deltas: float32 [B,A*4,H,W] of each level.
            image_info: float32 [B,6]: original height, width; resized height, width; scale y, x.

        Returns:
            boxes [B,M,4], scores [B,M], labels int32 [B,M], valid bool [B,M].
        """
        boxes, scores, labels = (), (), ()
        for i in range(len(self.anchors)):
            level = self._level(logits[i], deltas[i], self.anchors[i])
            boxes = boxes + (level[0],)
            scores = scores + (level[1],)
            labels = labels + (level[2],)
        size = ops.stack((image_info[:, 3], image_info[:, 2]), 1).expand_dims(1)
        boxes = _clip(ops.concat(boxes, 1), size)
        scores = ops.concat(scores, 1)
        sides = boxes[..., 2:] - boxes[..., :2]
        wanted = ops.logical_and(scores > self.score_thr, sides.min(axis=2) > self.min_bbox_size)
        boxes, scores, labels, valid = self.nms(boxes, scores * wanted.astype("float32"), ops.concat(labels, 1))
        scale = ops.stack((image_info[:, 5], image_info[:, 4]), 1).expand_dims(1)
        original = ops.stack((image_info[:, 1], image_info[:, 0]), 1).expand_dims(1)
        return _clip(boxes / ops.concat((scale, scale), 2), original), scores, labels, valid

    def _level(self, logits, deltas, anchors):
        batch, channels, height, width = logits.shape
        classes = channels // self.num_anchors
        flat = logits.transpose(0, 2, 3, 1).reshape(batch, -1)
        best, index = ops.topk(flat, min(self.nms_pre, flat.shape[1]))
        anchor = (index // classes).astype("int32")
        label = index.astype("int32") - anchor * classes
        rows = deltas.transpose(0, 2, 3, 1).reshape(batch, -1, 4)
        delta = ops.gather_elements(rows, 1, ops.broadcast_to(anchor.expand_dims(2), anchor.shape + (4,)))
        return self.coder.decode(ops.gather(anchors, anchor, 0), delta), ops.sigmoid(best), label


def _clip(boxes, size):
    """Boxes [B,C,4] into 0..size [B,1,2] (width, height)."""
    return ops.minimum(ops.maximum(boxes, 0.0), ops.concat((size, size), 2))
