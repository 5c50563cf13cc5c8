"""What was found in several views of a picture, merged so that each object is reported once.

Boxes of one class are compared by IoU. A box that the edge of a view may have cut off is a part of its object: there it
counts how much of it the other box covers, and it goes first only where it is twice as sure.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from src.predictor.views import Found, View, ViewOptions, in_picture

CUT_RANK = 0.5  # factor on the score of a box that may be cut off, where the order of boxes is chosen


class _Candidates(NamedTuple):
    """The objects of all views, in the order in which they are taken.

    Attributes:
        found: in pixels of the picture.
        cut: bool [N], see `in_picture`.
        view: int [N], number of the view.
    """

    found: Found
    cut: np.ndarray
    view: np.ndarray


def merged(parts: Sequence[Found], views: Sequence[View], height: int, width: int, options: ViewOptions) -> Found:
    """The objects of a picture of this size, from those found in its views, best first.

    With `nms` the best box of an object stays as it is. With `wbf` (weighted boxes fusion, Solovyev et al. 2021) it is
    the average of its boxes, weighted by their scores; its score is their mean, times the share of views that found it
    among those whose window holds it (but for the picture as a whole, beside tiles). Its mask is its best box's.

    Args:
        parts: of each view, in its pixels.
        views: the windows.
        height: of the picture in pixels.
        width: likewise.
        options: how to merge.
    """
    if len(views) == 1:
        return parts[0]
    candidates = _candidates(parts, views, height, width)
    if options.merge == "wbf":
        found = _fused(candidates, views, options.merge_iou)
    else:
        found = _suppressed(candidates, options.merge_iou)
    return found.take(np.argsort(-found.scores, kind="stable"))


def _candidates(parts: Sequence[Found], views: Sequence[View], height: int, width: int) -> _Candidates:
    placed = [in_picture(part, view, height, width) for part, view in zip(parts, views, strict=True)]
    boxes, scores, labels = (np.concatenate([found[field] for found, _ in placed]) for field in range(3))
    masks = [found.masks for found, _ in placed if found.masks is not None]
    cut = np.concatenate([one for _, one in placed])
    view = np.repeat(np.arange(len(views)), [len(one) for _, one in placed])
    order = np.argsort(-scores * np.where(cut, CUT_RANK, 1.0), kind="stable")
    found = Found(boxes, scores, labels, np.concatenate(masks) if masks else None)
    return _Candidates(found.take(order), cut[order], view[order])


def _overlaps(box: np.ndarray, cut: bool, others: np.ndarray, others_cut: np.ndarray) -> np.ndarray:
    """Of a box [4] with others [N, 4]: IoU, or the covered share of the smallest that may be cut off; float [N]."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=1)
    area, areas = np.prod(box[2:] - box[:2]), np.prod(others[:, 2:] - others[:, :2], axis=1)
    least = np.minimum(area if cut else np.inf, np.where(others_cut, areas, np.inf))
    of = np.where(np.isinf(least), area + areas - intersection, least)
    return intersection / np.maximum(of, 1e-12)


def _suppressed(candidates: _Candidates, iou: float) -> Found:
    """The candidates that no kept one of their class overlaps."""
    found, cut = candidates.found, candidates.cut
    kept = []
    for label in np.unique(found.labels):
        left = np.flatnonzero(found.labels == label)
        while len(left):
            first, left = left[0], left[1:]
            kept.append(first)
            left = left[_overlaps(found.boxes[first], cut[first], found.boxes[left], cut[left]) <= iou]
    return found.take(np.array(kept, np.int64))


def _fused(candidates: _Candidates, views: Sequence[View], iou: float) -> Found:
    """One box for each cluster of candidates; each joins the cluster of its class whose box it overlaps most."""
    found = candidates.found
    count = len(found.scores)
    boxes, cut = np.zeros((count, 4), np.float32), np.zeros(count, bool)
    labels, scores = np.zeros(count, np.int32), np.zeros(count, np.float32)
    clusters: list[list[int]] = []
    for row in range(count):
        rivals = np.flatnonzero(labels[: len(clusters)] == found.labels[row])
        overlaps = _overlaps(found.boxes[row], candidates.cut[row], boxes[rivals], cut[rivals])
        if len(rivals) and overlaps.max() > iou:
            place = int(rivals[overlaps.argmax()])
            clusters[place].append(row)
        else:
            place = len(clusters)
            clusters.append([row])
            labels[place] = found.labels[row]
        boxes[place], scores[place], cut[place] = _average(candidates, np.array(clusters[place]), views)
    best = np.array([cluster[0] for cluster in clusters], np.int64)
    number = len(clusters)
    masks = None if found.masks is None else found.masks[best]
    return Found(boxes[:number], scores[:number], labels[:number], masks)


def _average(candidates: _Candidates, rows: np.ndarray, views: Sequence[View]) -> tuple[np.ndarray, float, bool]:
    """Box, score, and whether it may be cut off, of a cluster of candidates: of its whole boxes, if any."""
    whole = rows[~candidates.cut[rows]]
    rows = whole if len(whole) else rows
    weights = candidates.found.scores[rows].astype(np.float64)
    total = max(weights.sum(), 1e-12)
    box = (candidates.found.boxes[rows] * weights[:, None]).sum(axis=0) / total
    seers = sum(not view.least_side and _holds(view, box) for view in views)
    seen = len(np.unique(candidates.view[rows]))
    return box, float(weights.mean() * min(seen / max(seers, 1), 1.0)), not len(whole)


def _holds(view: View, box: np.ndarray) -> bool:
    """Whether a view shows the whole box, but for a pixel."""
    first, last = box[:2] + 1, box[2:] - 1
    right, lower = view.x + view.width, view.y + view.height
    return bool(first[0] >= view.x and first[1] >= view.y and last[0] <= right and last[1] <= lower)
