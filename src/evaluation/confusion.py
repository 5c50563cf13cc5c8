"""Which classes a detector confuses with which: the confusion matrix of its boxes."""

import numpy as np

from src.evaluation.coco_matching import AREA_RANGES, FALSE_POSITIVE, TRUE_POSITIVE, Objects, match_objects


def confusion_matrix(
    truth: Objects, found: Objects, num_images: int, num_classes: int, score_thr: float = 0.3
) -> np.ndarray:
    """Count true class against detected class.

    Detections of at least `score_thr`, best first, each take the free object of any class that they overlap most,
    if by IoU 0.5 or more. Of an image's detections the best 100 take part; crowds and detections on them do not count.

    Returns:
        int64 [K + 1, K + 1]: rows are the true classes, columns the detected ones. The last row holds detections that
        found no object, the last column objects that were not found.
    """
    found = found.take(np.flatnonzero(found.score >= score_thr))
    matches = match_objects(_of_one_class(truth), _of_one_class(found), num_images, 1)
    state = matches.state[:, list(AREA_RANGES).index("all"), 0]
    label = found.label[matches.row]
    hit, alone = state == TRUE_POSITIVE, state == FALSE_POSITIVE
    missed = ~truth.uncounted
    missed[matches.taken[hit]] = False
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    np.add.at(matrix, (truth.label[matches.taken[hit]], label[hit]), 1)
    np.add.at(matrix[num_classes], label[alone], 1)
    np.add.at(matrix[:, num_classes], truth.label[missed], 1)
    return matrix


def _of_one_class(objects: Objects) -> Objects:
    everything = objects.take(np.arange(len(objects.image)))
    everything.label = np.zeros_like(objects.label)
    return everything
