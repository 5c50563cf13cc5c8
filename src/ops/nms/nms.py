"""Greedy non-maximum suppression on the host: in C++ (cpu/nms.cc), or in NumPy where there is no compiler."""

import ctypes
from collections.abc import Callable
from functools import cache

import numpy as np

from src.ops.kernel_library import optional_library


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
    boxes = np.ascontiguousarray(boxes[order], np.float32)
    labels = np.ascontiguousarray(labels[order], np.int32)
    suppress = _kernel() or suppress_in_numpy
    return order[suppress(boxes, labels, iou_threshold, max_count)]


Suppression = Callable[[np.ndarray, np.ndarray, float, int], np.ndarray]


@cache
def _kernel() -> Suppression | None:
    """The compiled suppression, of sorted boxes and labels, or None."""
    path = optional_library("CPU suppression")
    if path is None:
        return None
    function = ctypes.CDLL(str(path)).ClassWiseNms
    function.restype = ctypes.c_int64
    arrays = [np.ctypeslib.ndpointer(kind, flags="C_CONTIGUOUS") for kind in (np.float32, np.int32, np.int64)]
    function.argtypes = [*arrays[:2], ctypes.c_int64, ctypes.c_float, ctypes.c_int64, arrays[2]]

    def suppress(boxes: np.ndarray, labels: np.ndarray, iou_threshold: float, max_count: int) -> np.ndarray:
        kept = np.empty(min(max_count, len(boxes)), np.int64)
        return kept[: function(boxes, labels, len(boxes), iou_threshold, len(kept), kept)]

    return suppress


def suppress_in_numpy(boxes: np.ndarray, labels: np.ndarray, iou_threshold: float, max_count: int) -> np.ndarray:
    """Rows that are kept of boxes [M,4] and labels [M], best first."""
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
        overlaps = iou_with(boxes[i], areas[i], boxes[others], areas[others]) > np.float32(iou_threshold)
        alive[others[overlaps]] = False
        rivals[label] = others[~overlaps]
    return np.array(kept, np.int64)


def iou_with(box: np.ndarray, area: float, others: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """IoU of a box [4] of this area with others [N,4] of these areas: float32 [N]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    np.maximum(sides, 0, out=sides)
    intersection = sides[:, 0] * sides[:, 1]
    return intersection / np.maximum(area + areas - intersection, np.float32(1e-12))
