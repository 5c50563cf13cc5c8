"""Average precision as the Pascal VOC challenges define it (Everingham et al. 2010, section 4.2, and their devkit).

Detections of a class take the object of their image that they overlap most, whether it is free or not, in order of
falling score over all images. The first one that overlaps an object by at least the threshold is right, further ones of
the same object are wrong, and those of a difficult object are neither. Difficult objects do not count as objects.
"""

from dataclasses import dataclass

import numpy as np

from src.evaluation.coco_matching import Objects, box_overlaps, common_pairs

MIN_OVERLAP = 0.5


@dataclass
class VocPrecision:
    """AP of each class, float64 [K]; -1 for a class without objects that count.

    Attributes:
        ap_11_points: mean of the best precision at a recall of at least 0, 0.1, ..., 1 (the challenges up to 2009).
        ap_all_points: area under the precision made monotonic, at all recalls (from 2010 on).
    """

    ap_11_points: np.ndarray
    ap_all_points: np.ndarray


def voc_precision(
    truth: Objects, found: Objects, num_images: int, num_classes: int, min_overlap: float = MIN_OVERLAP
) -> VocPrecision:
    """AP of the boxes `found` against the objects `truth`; boxes end after their last pixel (see `VocDataset`)."""
    difficult = np.zeros(len(truth.image), bool) if truth.difficult is None else truth.difficult
    objects = np.bincount(truth.label[~difficult], minlength=num_classes)
    ap = np.full((2, num_classes), -1.0)
    if not objects.any():
        return VocPrecision(*ap)
    target, overlap = _best_objects(truth, found, num_images)
    hit = overlap >= min_overlap
    ignored = hit & difficult[target]

    # Equal scores: the earlier image first, and within it the order of the detections.
    order = np.lexsort((found.image, -found.score, found.label))
    order = order[~ignored[order]]
    right = np.zeros(len(order), bool)
    hits = np.flatnonzero(hit[order])
    right[hits[np.unique(target[order][hits], return_index=True)[1]]] = True

    bounds = np.searchsorted(found.label[order], np.arange(num_classes + 1))
    for k in np.flatnonzero(objects):
        ap[:, k] = _average_precisions(right[bounds[k] : bounds[k + 1]], int(objects[k]))
    return VocPrecision(*ap)


def _best_objects(truth: Objects, found: Objects, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Row of the object of its class and image that each detection overlaps most, and the IoU.

    Of equal ones the first counts; where there is none the row is 0 and the IoU -1.
    """
    target, overlap = np.zeros(len(found.image), np.int64), np.full(len(found.image), -1.0)
    truth_row = np.lexsort((truth.image, truth.label))
    found_row = np.lexsort((found.image, found.label))
    truth, found = truth.take(truth_row), found.take(found_row)
    pairs = common_pairs(truth.label * num_images + truth.image, found.label * num_images + found.image)
    if not len(pairs.found_count):
        return target, overlap
    overlaps = box_overlaps(truth, found, pairs)

    # One run of overlaps per detection, as long as its pair has objects.
    lengths = np.repeat(pairs.truth_count, pairs.found_count)
    starts = np.cumsum(lengths) - lengths
    best = np.maximum.reduceat(overlaps, starts)
    place = np.arange(len(overlaps)) - np.repeat(starts, lengths)
    is_best = overlaps == np.repeat(best, lengths)
    first = np.minimum.reduceat(np.where(is_best, place, len(overlaps)), starts)

    within = np.arange(len(lengths)) - np.repeat(np.cumsum(pairs.found_count) - pairs.found_count, pairs.found_count)
    rows = found_row[np.repeat(pairs.found_start, pairs.found_count) + within]
    target[rows] = truth_row[np.repeat(pairs.truth_start, pairs.found_count) + first]
    overlap[rows] = best
    return target, overlap


def _average_precisions(right: np.ndarray, num_objects: int) -> tuple[float, float]:
    """(AP at 11 points, AP at all points).

    Args:
        right: bool [N], by falling score.
        num_objects: at least 1.
    """
    position = np.flatnonzero(right)  # recall rises only here, and precision has its maxima here
    hits = np.arange(1, len(position) + 1)
    precision = np.maximum.accumulate((hits / (position + 1))[::-1])[::-1]
    # Recall hits / num_objects is at least tenth / 10; in whole numbers, since 3 / 10 is not 0.3 in binary.
    reached = np.searchsorted(10 * hits, np.arange(11) * num_objects, side="left")
    at_points = np.append(precision, 0.0)[reached]
    return float(at_points.mean()), float(precision.sum() / num_objects)
