"""What selections on the host share: best values over a threshold, detections of an image, rows of a batch."""

from collections.abc import Sequence

import numpy as np

from src.blocks.original_pixels import clip_to_resized, to_original_pixels
from src.blocks.post_processing.selections import DenseSelection, MultiBoxSelection, RoISelection
from src.ops.nms import class_wise_nms, soft_nms

Found = tuple[np.ndarray, np.ndarray, np.ndarray]


def best_over(values: np.ndarray, threshold: float | np.floating, count: int) -> np.ndarray:
    """Indices of at most `count` values [N] above a threshold: int64, in no order where there are more of them."""
    chosen = np.flatnonzero(values > threshold)
    if len(chosen) > count:
        chosen = chosen[np.argpartition(-values[chosen], count - 1)[:count]]
    return chosen


def detections_of_image(candidates: Found, info: np.ndarray, selection: DenseSelection) -> Found:
    """Clip, drop small boxes, suppress class by class, and go to the original image.

    Args:
        candidates: boxes float32 [C,4], x1 y1 x2 y2 in network pixels, scores float32 [C], labels int32 [C].
        info: float32 [6], see `src.blocks.image_info`.
        selection: thresholds and the most detections.

    Returns:
        boxes [D,4] in pixels of the original image, scores [D], labels [D], best first.
    """
    boxes, scores, labels = candidates
    boxes = clip_to_resized(boxes, info)
    large = (boxes[:, 2:] - boxes[:, :2] > selection.min_bbox_size).all(axis=1)
    boxes, scores, labels = boxes[large], scores[large], labels[large]
    kept, scores = suppressed(boxes, scores, labels, selection)
    return to_original_pixels(boxes[kept], info), scores, labels[kept]


def suppressed(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    selection: DenseSelection | MultiBoxSelection | RoISelection,
) -> tuple[np.ndarray, np.ndarray]:
    """Suppress class by class as a selection says: greedily, or by lower scores (see `soft_nms`).

    Args:
        boxes: float32 [C,4], x1 y1 x2 y2.
        scores: float32 [C].
        labels: int [C].
        selection: thresholds, the most detections, and the kind.

    Returns:
        (rows int64 [D], their scores float32 [D]), best first.
    """
    s = selection
    if s.suppression == "greedy":
        kept = class_wise_nms(boxes, scores, labels, s.iou_threshold, s.max_per_img)
        return kept, scores[kept]
    limits = s.iou_threshold, s.soft_sigma, s.score_thr, s.max_per_img
    return soft_nms(boxes, scores, labels, s.suppression, *limits)


def detections_of_batch(images: Sequence[Found], rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes, scores and labels of each image, filled up with zeros.

    Args:
        images: (boxes [D,4], scores [D], labels [D]) of each image, D at most `rows`.
        rows: rows M of the result.

    Returns:
        boxes float32 [B,M,4], scores float32 [B,M], labels int32 [B,M], valid bool [B,M].
    """
    boxes = np.zeros((len(images), rows, 4), np.float32)
    scores = np.zeros((len(images), rows), np.float32)
    labels = np.zeros((len(images), rows), np.int32)
    valid = np.zeros((len(images), rows), bool)
    for i, found in enumerate(images):
        count = len(found[1])
        boxes[i, :count], scores[i, :count], labels[i, :count] = found
        valid[i, :count] = True
    return boxes, scores, labels, valid
