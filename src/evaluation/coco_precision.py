"""Precision and recall over a data set from matched detections, as the COCO protocol defines them."""

import numpy as np

from src.evaluation.coco_matching import AREA_RANGES, IGNORED, IOU_THRESHOLDS, MAX_DETECTIONS, TRUE_POSITIVE, Matches

RECALL_POINTS = np.linspace(0.0, 1.0, 101)
DETECTION_LIMITS = (1, 10, MAX_DETECTIONS)


def precision_and_recall(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """Interpolated precision and final recall.

    Returns:
        precision [T, R, K, A] at IOU_THRESHOLDS, RECALL_POINTS, classes, AREA_RANGES, with up to 100 detections
        per image and class; recall [T, K, A, M] for the M DETECTION_LIMITS. -1 where a class has no object that counts.
    """
    num_classes = len(matches.positives)
    shape = (len(IOU_THRESHOLDS), num_classes, len(AREA_RANGES))
    precision = np.full((shape[0], len(RECALL_POINTS), *shape[1:]), -1.0)
    recall = np.full((*shape, len(DETECTION_LIMITS)), -1.0)
    bounds = np.searchsorted(matches.label, np.arange(num_classes + 1))
    for k in range(num_classes):
        rows = slice(bounds[k], bounds[k + 1])
        # Of equal scores the earlier image comes first: rows are in that order, and the sort is stable.
        order = np.argsort(-matches.score[rows], kind="stable")
        state, rank = matches.state[rows][order], matches.rank[rows]
        for a in np.flatnonzero(matches.positives[k]):
            total = matches.positives[k, a]
            hit = state[:, a] == TRUE_POSITIVE
            counted = np.cumsum(state[:, a] != IGNORED, axis=0)
            unsorted_hit = matches.state[rows][:, a] == TRUE_POSITIVE
            for m, limit in enumerate(DETECTION_LIMITS):
                recall[:, k, a, m] = unsorted_hit[rank < limit].sum(axis=0) / total
            for t in range(shape[0]):
                precision[t, :, k, a] = interpolated_precision(hit[:, t], counted[:, t], total)
    return precision, recall


def interpolated_precision(hit: np.ndarray, counted: np.ndarray, total: int) -> np.ndarray:
    """Precision at RECALL_POINTS.

    Args:
        hit: bool [N], true positives by falling score.
        counted: int [N], detections up to here that are not ignored.
        total: number of objects.
    """
    position = np.flatnonzero(hit)  # recall rises only here, and precision has its maxima here
    hits = np.arange(1, len(position) + 1)
    precision = hits / (counted[position] + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return np.append(precision, 0.0)[np.searchsorted(hits / total, RECALL_POINTS, side="left")]
