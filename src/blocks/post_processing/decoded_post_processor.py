"""From decoded boxes and scores of all anchors, the raw form of exported files, to detections, on the host."""

from collections.abc import Sequence

import numpy as np

from src.blocks.post_processing.candidates import Found, best_over, detections_of_batch, detections_of_image
from src.blocks.post_processing.selections import DenseSelection


class DecodedPostProcessor:
    """Selects and suppresses as `DensePostProcessor`, where the network has decoded its boxes already.

    Args:
        level_sizes: number of anchors of each level; their sum is N.
        selection: thresholds and counts.
    """

    def __init__(self, level_sizes: Sequence[int], selection: DenseSelection) -> None:
        self.ends = np.cumsum(level_sizes).tolist()
        self.selection = selection

    def __call__(
        self, boxes: np.ndarray, scores: np.ndarray, image_info: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Detections of a batch.

        Args:
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels, not clipped; level after level.
            scores: float32 [B,N,K], probabilities of the foreground classes.
            image_info: float32 [B,6], see `src.blocks.image_info`.

        Returns:
            boxes float32 [B,M,4] in pixels of the original image, scores float32 [B,M], labels int32 [B,M] and valid
            bool [B,M], best first; rows that are not valid are 0.

        Raises:
            ValueError: another number of anchors than that of the levels.
        """
        if boxes.shape[1:] != (self.ends[-1], 4) or scores.shape[:2] != boxes.shape[:2]:
            raise ValueError(f"boxes {boxes.shape} and scores {scores.shape} are not of {self.ends[-1]} anchors")
        found = [self._image(*image) for image in zip(boxes, scores, image_info, strict=True)]
        return detections_of_batch(found, self.selection.max_per_img)

    def _image(self, boxes: np.ndarray, scores: np.ndarray, info: np.ndarray) -> Found:
        classes = scores.shape[1]
        flat = np.ascontiguousarray(scores).reshape(-1)
        pairs, start = [], 0
        threshold = np.float32(self.selection.score_thr)
        for end in self.ends:
            level = flat[start * classes : end * classes]
            pairs.append(best_over(level, threshold, self.selection.nms_pre) + start * classes)
            start = end
        chosen = np.concatenate(pairs)
        anchor, label = np.divmod(chosen, classes)
        candidates = boxes[anchor], flat[chosen], label.astype(np.int32)
        return detections_of_image(candidates, info, self.selection)
