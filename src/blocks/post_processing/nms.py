"""Greedy non-maximum suppression on the host."""

import numpy as np


def class_wise_nms(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, iou_threshold: float, max_count: int
) -> np.ndarray:
    """Indices of the boxes that no better kept box of their class overlaps by more than a threshold.

    Stops as soon as `max_count` boxes are kept.

    Args:
        boxes: float32 [M,4], x1 y1 x2 y2.
        scores: float32 [M].
        labels: int [M].
        iou_threshold: a box of greater IoU is dropped.
        max_count: most boxes to keep.

    Returns:
        int64 [<= max_count], best score first; of equal scores the first row.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, labels = boxes[order], labels[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    alive = np.ones(len(boxes), bool)
    rivals: dict[int, np.ndarray] = {}  # by class, the rows not yet looked at
    kept = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        if len(kept) == max_count:
            break
        label = int(labels[i])
        if label not in rivals:
            rivals[label] = np.flatnonzero(labels == label)
        others = rivals[label]
        others = others[(others > i) & alive[others]]
        overlaps = _iou_with(boxes[i], areas[i], boxes[others], areas[others]) > iou_threshold
        alive[others[overlaps]] = False
        rivals[label] = others[~overlaps]
    return order[kept]


def _iou_with(box: np.ndarray, area: float, others: np.ndarray, areas: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    np.maximum(sides, 0, out=sides)
    intersection = sides[:, 0] * sides[:, 1]
    return intersection / np.maximum(area + areas - intersection, np.float32(1e-12))
