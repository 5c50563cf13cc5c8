"""Why AP is lost: each wrong detection and each missed object by its kind of error, and what fixing a kind would gain.

The kinds and their order are those of TIDE (Bolya, Foley, Hays, Hoffman 2020, "TIDE: A General Toolbox for Identifying
Object Detection Errors", arXiv:2008.08115, section 2), with boxes at IoU 0.5 (foreground) and 0.1 (background). A wrong
detection is the first of these that fits:

- localisation: it overlaps an object of its class by 0.1 to 0.5;
- class: it overlaps an object of another class by at least 0.5;
- duplicate: it overlaps an object of its class by at least 0.5, which a better detection has taken;
- background: it overlaps no object by more than 0.1;
- both: class and localisation are wrong.

An object is missed when nothing found it, not even in a wrong place or with a wrong class.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from src.evaluation.coco_matching import AREA_RANGES, IGNORED, TRUE_POSITIVE, Matches, Objects, match_objects
from src.evaluation.coco_precision import interpolated_precision

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1
ERRORS = ("localisation", "class", "both", "duplicate", "background", "missed")
LOCALISATION, CLASS, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(ERRORS))
CORRECT, UNCOUNTED = -1, -2


@dataclass
class ErrorBreakdown:
    """What went wrong in a data set.

    Attributes:
        ap50: mean AP at IoU 0.5, as evaluation gives it; -1 where no class has an object.
        gains: what mean AP at IoU 0.5 would gain if all errors of a kind were fixed, for each of ERRORS.
        counts: number of errors of each of ERRORS.
        best: int64 [K, 7]: of a class's N best detections, where N is the number of its objects, how many are correct,
            then how many are each of ERRORS; where there are fewer than N, the rest counts as missed.
    """

    ap50: float
    gains: dict[str, float]
    counts: dict[str, int]
    best: np.ndarray


@dataclass
class ClassifiedDetections:
    """Detections that count, ordered by class, image, falling score.

    Attributes:
        row: int64 [N], the detection's row among those that were given.
        label, score: int64 and float64 [N].
        kind: int64 [N], CORRECT or an index of ERRORS.
        target: int64 [N], the object's row for localisation and class errors, else -1.
        positives: int64 [K], objects of each class.
        missed: int64 [K], objects of each class that are missed.
        fixes: bool [N], the error is the best detection of an object that nothing else found.
        target_label: int64 [N], class of `target`.
        missed_row: int64 [M], rows of the objects that are missed.
    """

    row: np.ndarray
    label: np.ndarray
    score: np.ndarray
    kind: np.ndarray
    target: np.ndarray
    positives: np.ndarray
    missed: np.ndarray
    fixes: np.ndarray
    target_label: np.ndarray
    missed_row: np.ndarray


def break_down_errors(truth: Objects, found: Objects, num_images: int, num_classes: int) -> ErrorBreakdown:
    """Sort the errors of a data set by kind.

    Args:
        truth: ground truth; crowds take no part, and detections on them are neither right nor wrong.
        found: detections; the best 100 per image and class count.
        num_images: of the data set.
        num_classes: of the data set.
    """
    detections = classify_detections(truth, found, num_images, num_classes)
    ap50 = _mean_ap(detections.label, detections.score, detections.kind == CORRECT, detections.positives)
    gains = {name: max(_fixed_ap(detections, kind) - ap50, 0.0) for kind, name in enumerate(ERRORS)}
    counts = {name: int(np.count_nonzero(detections.kind == kind)) for kind, name in enumerate(ERRORS)}
    counts["missed"] = int(detections.missed.sum())
    return ErrorBreakdown(ap50, gains, counts, _best_of_each_class(detections))


def classify_detections(truth: Objects, found: Objects, num_images: int, num_classes: int) -> ClassifiedDetections:
    """The kind of each detection and the objects that are missed; arguments as of `break_down_errors`."""
    matches = match_objects(truth, found, num_images, num_classes)
    state = matches.state[:, list(AREA_RANGES).index("all"), 0]
    kind = np.full(len(state), BACKGROUND)
    kind[state == TRUE_POSITIVE] = CORRECT
    kind[state == IGNORED] = UNCOUNTED
    target = np.full(len(state), -1)
    for rows, objects, iou in _overlaps(truth, found, matches, kind == BACKGROUND):
        same = matches.label[rows, None] == truth.label[objects]
        kind[rows], target[rows] = _kinds_of(np.where(same, iou, 0.0), np.where(same, 0.0, iou), objects)
    detected = np.zeros(len(truth.image), bool)
    detected[matches.taken[state == TRUE_POSITIVE]] = True
    reachable = detected.copy()
    reachable[target[target >= 0]] = True
    missed = ~reachable & ~truth.uncounted
    counted = kind != UNCOUNTED
    return ClassifiedDetections(
        matches.row[counted],
        matches.label[counted],
        matches.score[counted],
        kind[counted],
        target[counted],
        np.bincount(truth.label[~truth.uncounted], minlength=num_classes),
        np.bincount(truth.label[missed], minlength=num_classes),
        _best_of_each_object(target, matches.score, detected)[counted],
        np.where(target >= 0, truth.label[target] if len(truth.label) else -1, -1)[counted],
        np.flatnonzero(missed),
    )


def _overlaps(
    truth: Objects, found: Objects, matches: Matches, wrong: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each image: rows of `matches` that are wrong, rows of `truth`, and their IoU; images with both only."""
    rows, objects = np.flatnonzero(wrong), np.flatnonzero(~truth.uncounted)
    rows_of = _by_image(rows, found.image[matches.row[rows]])
    objects_of = _by_image(objects, truth.image[objects])
    for image in rows_of.keys() & objects_of.keys():
        d, g = rows_of[image], objects_of[image]
        boxes = found.boxes[matches.row[d]], truth.boxes[g]
        yield d, g, np.asarray(coco_mask.iou(*boxes, np.zeros(len(g), np.uint8).tolist())).reshape(len(d), len(g))


def _by_image(rows: np.ndarray, image: np.ndarray) -> dict[int, np.ndarray]:
    order = np.argsort(image, kind="stable")
    images, starts = np.unique(image[order], return_index=True)
    return dict(zip(images.tolist(), np.split(rows[order], starts[1:]), strict=True)) if len(images) else {}


def _kinds_of(same: np.ndarray, other: np.ndarray, objects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kind and target of wrong detections from their IoU [D, G] with objects of their class and of other classes."""
    best_same, best_other = same.max(axis=1), other.max(axis=1)
    fits = (
        (best_same >= BACKGROUND_IOU) & (best_same < FOREGROUND_IOU),
        best_other >= FOREGROUND_IOU,
        best_same >= FOREGROUND_IOU,
        np.maximum(best_same, best_other) <= BACKGROUND_IOU,
    )
    kind = np.select(fits, (LOCALISATION, CLASS, DUPLICATE, BACKGROUND), BOTH)
    targets = (objects[same.argmax(axis=1)], objects[other.argmax(axis=1)])
    return kind, np.select((kind == LOCALISATION, kind == CLASS), targets, -1)


def _best_of_each_object(target: np.ndarray, score: np.ndarray, detected: np.ndarray) -> np.ndarray:
    """Which detections have the best score of all with their target, where nothing found that object; bool [N]."""
    best = np.zeros(len(target), bool)
    rows = np.flatnonzero(target >= 0)
    rows = rows[~detected[target[rows]]]
    rows = rows[np.argsort(-score[rows], kind="stable")]
    best[rows[np.unique(target[rows], return_index=True)[1]]] = True
    return best


def _fixed_ap(found: ClassifiedDetections, error: int) -> float:
    """Mean AP at IoU 0.5 had the errors of one kind been fixed.

    Of the misplaced and misclassified detections of an object the best becomes right and the others are removed, as are
    duplicates and detections of the background. Missed objects are taken out of the ground truth.
    """
    hit, label, positives = found.kind == CORRECT, found.label, found.positives
    wrong = found.kind == error
    if error == MISSED:
        return _mean_ap(label, found.score, hit, positives - found.missed)
    fixed = wrong & found.fixes
    kept = ~wrong | fixed
    label = np.where(fixed, found.target_label, label)
    return _mean_ap(label[kept], found.score[kept], (hit | fixed)[kept], positives)


def _mean_ap(label: np.ndarray, score: np.ndarray, hit: np.ndarray, positives: np.ndarray) -> float:
    """Mean over the classes with objects of AP (101 recall points); -1 without any."""
    values = []
    for k in np.flatnonzero(positives):
        rows = np.flatnonzero(label == k)
        rows = rows[np.argsort(-score[rows], kind="stable")]
        counted = np.arange(1, len(rows) + 1)
        values.append(interpolated_precision(hit[rows], counted, positives[k]).mean())
    return float(np.mean(values)) if values else -1.0


def _best_of_each_class(found: ClassifiedDetections) -> np.ndarray:
    """`ErrorBreakdown.best`."""
    table = np.zeros((len(found.positives), 1 + len(ERRORS)), np.int64)
    for k, objects in enumerate(found.positives.tolist()):
        rows = np.flatnonzero(found.label == k)
        rows = rows[np.argsort(-found.score[rows], kind="stable")][:objects]
        table[k] = np.bincount(found.kind[rows] + 1, minlength=1 + len(ERRORS))
        table[k, 1 + MISSED] = objects - len(rows)
    return table
