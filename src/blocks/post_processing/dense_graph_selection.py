"""From a dense head's raw outputs to detections, in the graph."""

from collections.abc import Sequence

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.original_pixels import graph_clip_to_resized, graph_to_original_pixels
from src.blocks.post_processing.multiclass_nms import MulticlassNMS
from src.blocks.post_processing.selections import DenseSelection


class DenseGraphSelection(nn.Cell):
    """`DensePostProcessor` in fixed-shape operators, for exported networks.

    Args:
        anchors: float32 [P_l,4] of each level, ordered by y, x, anchor.
        num_anchors: anchors A per position.
        coder: decodes deltas.
        selection: thresholds and counts.
    """

    def __init__(
        self,
        anchors: Sequence[np.ndarray],
        num_anchors: int,
        coder: DeltaXYWHBBoxCoder,
        selection: DenseSelection,
    ) -> None:
        super().__init__()
        self.anchors = [Tensor(level) for level in anchors]
        self.num_anchors = num_anchors
        self.coder = coder
        self.selection = selection
        self.nms = MulticlassNMS(selection)

    def construct(
        self, logits: tuple[Tensor, ...], deltas: tuple[Tensor, ...], image_info: Tensor
    ) -> tuple[Tensor, ...]:
        """Detections of a batch.

        Args:
            logits: float32 [B,A*K,H,W] of each level.
            deltas: float32 [B,A*4,H,W] of each level.
            image_info: float32 [B,6], see `src.blocks.image_info`.

        Returns:
            boxes [B,M,4], scores [B,M], labels int32 [B,M], valid bool [B,M].
        """
        level_boxes: tuple[Tensor, ...] = ()
        level_scores: tuple[Tensor, ...] = ()
        level_labels: tuple[Tensor, ...] = ()
        for i in range(len(self.anchors)):
            level = self._level(logits[i], deltas[i], self.anchors[i])
            level_boxes = level_boxes + (level[0],)
            level_scores = level_scores + (level[1],)
            level_labels = level_labels + (level[2],)
        boxes = graph_clip_to_resized(ops.concat(level_boxes, 1), image_info)
        scores, labels = ops.concat(level_scores, 1), ops.concat(level_labels, 1)
        sides = boxes[..., 2:] - boxes[..., :2]
        wanted = ops.logical_and(scores > self.selection.score_thr, sides.min(axis=2) > self.selection.min_bbox_size)
        boxes, scores, labels, valid = self.nms(boxes, scores * wanted.astype("float32"), labels)
        return graph_to_original_pixels(boxes, image_info), scores, labels, valid

    def _level(self, logits: Tensor, deltas: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, channels = logits.shape[:2]
        classes = channels // self.num_anchors
        flat = logits.transpose(0, 2, 3, 1).reshape(batch, -1)
        best, index = ops.topk(flat, min(self.selection.nms_pre, flat.shape[1]))
        anchor = (index // classes).astype("int32")
        label = index.astype("int32") - anchor * classes
        rows = deltas.transpose(0, 2, 3, 1).reshape(batch, -1, 4)
        delta = ops.gather_elements(rows, 1, ops.broadcast_to(anchor.expand_dims(2), anchor.shape + (4,)))
        return self.coder.decode(ops.gather(anchors, anchor, 0), delta), ops.sigmoid(best), label
