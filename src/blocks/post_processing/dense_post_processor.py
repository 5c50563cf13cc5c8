"""From a dense head's raw outputs to detections, on the host."""

import math
from collections.abc import Sequence

import numpy as np

from src.blocks.bbox_coders import DeltaXYWHBBoxCoder
from src.blocks.post_processing.candidates import Found, best_over, detections_of_batch, detections_of_image
from src.blocks.post_processing.selections import DenseSelection


def _logit(probability: float) -> float:
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


class DensePostProcessor:
    """Selects, decodes and suppresses (the order of mmdetection's RetinaHead).

    A level's (anchor, class) pairs are compared with the threshold as logits, so that the score function runs on the
    few that pass and boxes are decoded for the best of them only.

    Args:
        anchors: float32 [P_l,4] of each level, ordered by y, x, anchor.
        num_anchors: anchors A per position.
        coder: decodes deltas.
        selection: thresholds and counts; only the best `nms_pre` pairs of a level are decoded.
    """

    def __init__(
        self,
        anchors: Sequence[np.ndarray],
        num_anchors: int,
        coder: DeltaXYWHBBoxCoder,
        selection: DenseSelection,
    ) -> None:
        self.anchors = list(anchors)
        self.num_anchors = num_anchors
        self.coder = coder
        self.selection = selection
        self.logit_thr = np.float32(_logit(selection.score_thr))

    def __call__(
        self, logits: Sequence[np.ndarray], deltas: Sequence[np.ndarray], image_info: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Detections of a batch.

        Args:
            logits: float32 [B,A*K,H,W] of each level.
            deltas: float32 [B,A*4,H,W] of each level.
            image_info: float32 [B,6], see `src.blocks.image_info`.

        Returns:
            boxes float32 [B,M,4] in pixels of the original image, scores float32 [B,M], labels int32 [B,M] and valid
            bool [B,M], best first; rows that are not valid are 0.
        """
        images = [
            self._image([level[i] for level in logits], [level[i] for level in deltas], image_info[i])
            for i in range(len(image_info))
        ]
        return detections_of_batch(images, self.selection.max_per_img)

    def _image(self, logits: list[np.ndarray], deltas: list[np.ndarray], info: np.ndarray) -> Found:
        parts = [self._level(*level) for level in zip(logits, deltas, self.anchors, strict=True)]
        boxes, best_logits, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        candidates = boxes, 1 / (1 + np.exp(-best_logits)), labels
        return detections_of_image(candidates, info, self.selection)

    def _level(self, logits: np.ndarray, deltas: np.ndarray, anchors: np.ndarray) -> Found:
        """Best pairs of one level [A*K,H,W], [A*4,H,W] -> boxes [n,4], logits [n], labels [n]."""
        flat = logits.reshape(-1)
        chosen = best_over(flat, self.logit_thr, self.selection.nms_pre)
        positions = logits.shape[1] * logits.shape[2]
        if positions * self.num_anchors != len(anchors):
            raise ValueError(f"a level has {positions} positions, its anchors {len(anchors) // self.num_anchors}")
        classes = logits.shape[0] // self.num_anchors
        channel, position = np.divmod(chosen, positions)
        anchor, label = np.divmod(channel, classes)
        delta = deltas.reshape(self.num_anchors, 4, positions)[anchor, :, position]
        boxes = self.coder.decode_numpy(anchors[position * self.num_anchors + anchor], delta)
        return boxes, flat[chosen], label.astype(np.int32)
