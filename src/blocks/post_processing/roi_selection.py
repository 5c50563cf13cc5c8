"""From a RoI head's scores and boxes to detections, on the host and in the graph."""

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.post_processing.candidates import detections_of_batch, suppressed
from src.blocks.post_processing.multiclass_nms import MulticlassNMS
from src.blocks.post_processing.selections import RoISelection


class RoIPostProcessor:
    """Class-wise suppression of scored boxes on the host (mmdetection's multiclass_nms)."""

    def __init__(self, selection: RoISelection) -> None:
        self.selection = selection

    def __call__(self, scores: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Detections of a batch, in the pixels of `boxes`.

        Args:
            scores: float32 [B,M,K], 0 for RoIs that are not valid.
            boxes: float32 [B,M,K,4], or [B,M,1,4] for boxes that do not depend on the class.

        Returns:
            boxes float32 [B,D,4], scores float32 [B,D], labels int32 [B,D], valid bool [B,D], best first; rows that
            are not valid are 0.
        """
        rows, images = self.selection.max_per_img, []
        for i in range(len(scores)):
            roi, label = np.nonzero(scores[i] > self.selection.score_thr)
            candidates, score = boxes[i][roi, label if boxes.shape[2] > 1 else 0], scores[i][roi, label]
            kept, score = suppressed(candidates, score, label, self.selection)
            images.append((candidates[kept], score, label[kept]))
        return detections_of_batch(images, rows)


class RoIGraphSelection(nn.Cell):
    """`RoIPostProcessor` in fixed-shape operators, for exported networks.

    Args:
        selection: thresholds and counts.
        nms_pre: best (RoI, class) pairs that take part.
    """

    def __init__(self, selection: RoISelection, nms_pre: int = 1000) -> None:
        super().__init__()
        self.score_thr = selection.score_thr
        self.nms_pre = nms_pre
        self.nms = MulticlassNMS(selection)

    def construct(self, scores: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """`scores` [B,M,K], boxes [B,M,K or 1,4] -> boxes [B,D,4], scores [B,D], labels int32 [B,D], valid [B,D]."""
        batch, rois, classes = scores.shape
        best, index = ops.topk(scores.reshape(batch, -1), min(self.nms_pre, rois * classes))
        index = index.astype("int32")
        roi = index // classes
        label = index - roi * classes
        if boxes.shape[2] == 1:
            index = roi
        rows = boxes.reshape(batch, -1, 4)
        chosen = ops.gather_elements(rows, 1, ops.broadcast_to(index.expand_dims(2), index.shape + (4,)))
        return self.nms(chosen, best * (best > self.score_thr).astype("float32"), label)
