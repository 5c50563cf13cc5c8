"""What detectors return."""

from typing import NamedTuple

import numpy as np


class Detections(NamedTuple):
    """The detections of B images, M rows each, best first.

    Attributes:
        boxes: float32 [B,M,4], x1 y1 x2 y2 in pixels of the original image, inside it.
        scores: float32 [B,M], falling; 0 where not valid.
        labels: int32 [B,M], 0..K-1.
        valid: bool [B,M]; the rows in use come first.
        masks: float32 [B,M,28,28] probabilities inside the boxes, or None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    valid: np.ndarray
    masks: np.ndarray | None = None
