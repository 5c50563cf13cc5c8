"""From the decoded boxes and scores of SSD-like detectors to detections, on the host and in the graph."""

import numpy as np
from mindspore import Tensor, nn, ops

from src.blocks.original_pixels import (
    clip_to_resized,
    graph_clip_to_resized,
    graph_to_original_pixels,
    to_original_pixels,
)
from src.blocks.post_processing.candidates import Found, detections_of_batch, suppressed
from src.blocks.post_processing.multiclass_nms import MulticlassNMS
from src.blocks.post_processing.selections import MultiBoxSelection

# In the graph each row and each candidate costs operators: COCO's metrics see the best 100 of an image.
GRAPH_ROWS = 100
GRAPH_CANDIDATES = 1000


class MultiBoxPostProcessor:
    """Selects class by class and suppresses (SSD's DetectionOutput): boxes are clipped last."""

    def __init__(self, selection: MultiBoxSelection) -> None:
        self.selection = selection

    def __call__(
        self, boxes: np.ndarray, scores: np.ndarray, image_info: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Detections of a batch.

        Args:
            boxes: float32 [B,P,4], x1 y1 x2 y2 in network pixels, not clipped.
            scores: float32 [B,P,K], probabilities of the foreground classes.
            image_info: float32 [B,6], see `src.blocks.image_info`.

        Returns:
            boxes float32 [B,M,4] in pixels of the original image, scores float32 [B,M], labels int32 [B,M] and valid
            bool [B,M], best first; rows that are not valid are 0.
        """
        found = [self._image(*image) for image in zip(boxes, scores, image_info, strict=True)]
        return detections_of_batch(found, self.selection.max_per_img)

    def _image(self, boxes: np.ndarray, scores: np.ndarray, info: np.ndarray) -> Found:
        flat = np.ascontiguousarray(scores).reshape(-1)
        chosen = np.flatnonzero(flat > np.float32(self.selection.score_thr))
        chosen = chosen[np.argsort(-flat[chosen], kind="stable")]
        anchor, label = np.divmod(chosen, scores.shape[1])
        kept = _first_of_each(label, self.selection.nms_pre)
        candidates, score, label = boxes[anchor[kept]], flat[chosen[kept]], label[kept].astype(np.int32)
        kept, score = suppressed(candidates, score, label, self.selection)
        found = to_original_pixels(clip_to_resized(candidates[kept], info), info)
        return found, score, label[kept]


def _first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """Places of the first `count` rows of each label [N], in order."""
    kept = np.ones(len(labels), bool)
    for label in np.flatnonzero(np.bincount(labels) > count):
        kept[np.flatnonzero(labels == label)[count:]] = False
    return np.flatnonzero(kept)


class MultiBoxGraphSelection(nn.Cell):
    """`MultiBoxPostProcessor` in fixed-shape operators, for exported networks: at most 100 rows.

    The candidates are the 1,000 best (box, class) pairs of an image, whatever their classes.
    """

    def __init__(self, selection: MultiBoxSelection) -> None:
        super().__init__()
        self.score_thr = selection.score_thr
        self.nms = MulticlassNMS(selection._replace(max_per_img=min(selection.max_per_img, GRAPH_ROWS)))

    def construct(self, boxes: Tensor, scores: Tensor, image_info: Tensor) -> tuple[Tensor, ...]:
        """Arguments and results as those of `MultiBoxPostProcessor`, M at most 100."""
        batch, anchors, classes = scores.shape
        best, index = ops.topk(scores.reshape(batch, -1), min(GRAPH_CANDIDATES, anchors * classes))
        index = index.astype("int32")
        anchor = index // classes
        label = index - anchor * classes
        chosen = ops.gather_elements(boxes, 1, ops.broadcast_to(anchor.expand_dims(2), anchor.shape + (4,)))
        boxes, scores, labels, valid = self.nms(chosen, best * (best > self.score_thr).astype("float32"), label)
        boxes = graph_to_original_pixels(graph_clip_to_resized(boxes, image_info), image_info)
        return boxes * valid.astype("float32").expand_dims(2), scores, labels, valid
