"""Soft non-maximum suppression on the host: boxes that overlap a better one lose score instead of being dropped."""

from typing import Literal

import numpy as np

from src.ops.nms.nms import iou_with

Decay = Literal["soft_linear", "soft_gaussian"]


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    decay: Decay,
    iou_threshold: float,
    sigma: float,
    score_thr: float,
    max_count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Pick the box of the best score, lower those of its class that overlap it, and so on.

    Bodla et al., Soft-NMS - Improving Object Detection With One Line of Code, ICCV 2017: `soft_linear` multiplies a
    score by 1 - IoU where the IoU is at least the threshold, `soft_gaussian` by exp(-IoU^2 / sigma) always.

    Args:
        boxes: float32 [M,4], x1 y1 x2 y2.
        scores: float32 [M].
        labels: int [M].
        decay: how scores fall.
        iou_threshold: of `soft_linear`.
        sigma: of `soft_gaussian`.
        score_thr: boxes whose score has fallen to it are dropped.
        max_count: most boxes to keep.

    Returns:
        (rows int64 [<= max_count], their new scores float32), best first; of equal scores the first row.
    """
    boxes, left = np.asarray(boxes, np.float32), np.array(scores, np.float32)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    rows: list[int] = []
    found: list[np.float32] = []
    while len(rows) < min(max_count, len(left)):
        best = int(left.argmax())
        if not left[best] > score_thr:
            break
        rows.append(best)
        found.append(left[best])
        left[best] = -np.inf
        rivals = np.flatnonzero((labels == labels[best]) & (left > score_thr))
        iou = iou_with(boxes[best], areas[best], boxes[rivals], areas[rivals])
        if decay == "soft_linear":
            left[rivals] *= np.where(iou >= np.float32(iou_threshold), 1 - iou, np.float32(1))
        else:
            left[rivals] *= np.exp(-np.square(iou) / np.float32(sigma))
    return np.array(rows, np.int64), np.array(found, np.float32)
