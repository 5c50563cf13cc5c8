"""Kinds of errors and the confusion matrix, on cases that were worked out by hand."""

import numpy as np
import pytest

from src.evaluation.coco_matching import AREA_RANGES, TRUE_POSITIVE, Objects, match_objects
from src.evaluation.confusion import confusion_matrix
from src.evaluation.error_types import ERRORS, break_down_errors


def objects(rows, crowd=(), difficult=None):
    """Rows of image, label, x, y, width, height and, for detections, score."""
    table = np.array([(*row, 0.0)[:7] for row in rows], np.float64).reshape(-1, 7)
    flags = np.zeros(len(table), bool)
    flags[list(crowd)] = True
    hard = None if difficult is None else np.isin(np.arange(len(table)), difficult)
    boxes = table[:, 2:6]
    return Objects(
        table[:, 0].astype(int), table[:, 1].astype(int), boxes, boxes[:, 2] * boxes[:, 3], table[:, 6], flags,
        difficult=hard,
    )  # fmt: skip


# Two classes, 0 and 1; all objects 10 x 10.
TRUTH = objects(
    [
        (0, 0, 0, 0, 10, 10),  # found, and found again
        (0, 0, 50, 0, 10, 10),  # found in the wrong place
        (0, 1, 100, 0, 10, 10),  # taken for class 0
        (0, 1, 150, 0, 10, 10),  # wrong place and wrong class
        (1, 0, 0, 0, 10, 10),  # nothing near it
        (1, 1, 50, 0, 10, 10),  # found
    ]
)
FOUND = objects(
    [
        (0, 0, 0, 0, 10, 10, 0.9),  # correct
        (0, 0, 1, 0, 10, 10, 0.8),  # duplicate: IoU 9/11
        (0, 0, 55, 0, 10, 10, 0.7),  # localisation: IoU 5/15
        (0, 0, 100, 0, 10, 10, 0.6),  # class
        (0, 0, 155, 0, 10, 10, 0.5),  # both
        (1, 0, 100, 50, 10, 10, 0.4),  # background
        (1, 1, 50, 0, 10, 10, 0.3),  # correct
        (2, 1, 0, 0, 10, 10, 0.2),  # background, in an image without objects
    ]
)


def test_each_kind_of_error_is_recognised():
    errors = break_down_errors(TRUTH, FOUND, 3, 2)
    # The object of class 1 at 150 is missed too: a detection with the wrong place and class cannot lead to it.
    expected = {"localisation": 1, "class": 1, "both": 1, "duplicate": 1, "background": 2, "missed": 2}
    assert errors.counts == expected
    # Class 0, three objects: correct, duplicate, localisation. Class 1, three: correct, background, one lacks.
    assert errors.best.tolist() == [[1, 1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1, 1]]


def ap(*hits, objects):
    """AP of 101 recall points for detections in this order, True where right."""
    found = np.cumsum(hits)
    precision = found / np.arange(1, len(hits) + 1)
    best = [max([p for p, n in zip(precision, found, strict=True) if n / objects >= r], default=0.0) for r in points()]
    return float(np.mean(best))


def points():
    return np.linspace(0, 1, 101) - 1e-12


def test_gains_are_those_of_the_fixed_detections():
    errors = break_down_errors(TRUTH, FOUND, 3, 2)
    zero = ap(True, False, False, False, False, False, objects=3)  # class 0, by falling score
    one = ap(True, False, objects=3)
    assert errors.ap50 == pytest.approx((zero + one) / 2)
    fixed = {
        "localisation": (ap(True, False, True, False, False, False, objects=3), one),
        # The detection of class 0 becomes the best one of class 1.
        "class": (ap(True, False, False, False, False, objects=3), ap(True, True, False, objects=3)),
        "both": (zero, one),
        "duplicate": (zero, one),  # after the last right detection of class 0 nothing matters
        "background": (zero, one),
        "missed": (ap(True, False, False, False, False, False, objects=2), ap(True, False, objects=2)),
    }
    for name in ERRORS:
        assert errors.gains[name] == pytest.approx(np.mean(fixed[name]) - errors.ap50), name


def test_of_several_detections_of_an_object_the_best_is_fixed():
    truth = objects([(0, 0, 0, 0, 10, 10)])
    found = objects([(0, 0, 5, 0, 10, 10, 0.5), (0, 0, 4, 0, 10, 10, 0.9)])
    errors = break_down_errors(truth, found, 1, 1)
    assert errors.counts["localisation"] == 2 and errors.counts["missed"] == 0
    assert (errors.ap50, errors.gains["localisation"]) == (0.0, pytest.approx(1.0))


@pytest.mark.parametrize(
    "kind, box", [("duplicate", (1, 0, 10, 10)), ("background", (80, 80, 10, 10)), ("both", (150, 5, 10, 10))]
)
def test_false_alarms_between_right_detections_cost_precision(kind, box):
    truth = objects([(0, 0, 0, 0, 10, 10), (0, 0, 50, 0, 10, 10), (0, 1, 150, 0, 10, 10)])
    right = [(0, 0, 0, 0, 10, 10, 0.9), (0, 0, 50, 0, 10, 10, 0.7), (0, 1, 150, 0, 10, 10, 0.5)]
    errors = break_down_errors(truth, objects([*right, (0, 0, *box, 0.8)]), 1, 2)
    assert [name for name in ERRORS if errors.counts[name]] == [kind]
    assert errors.ap50 == pytest.approx((ap(True, False, True, objects=2) + 1) / 2)
    assert errors.gains[kind] == pytest.approx(1 - errors.ap50) and errors.ap50 < 0.95


@pytest.mark.parametrize("kind", ["crowd", "difficult"])
def test_crowds_and_difficult_objects_are_no_errors(kind):
    truth = objects([(0, 0, 0, 0, 10, 10)], **{kind: [0]})
    found = objects([(0, 0, 0, 0, 10, 10, 0.9)])
    errors = break_down_errors(truth, found, 1, 1)
    assert (errors.ap50, sum(errors.counts.values()), errors.best.sum()) == (-1.0, 0, 0)
    assert confusion_matrix(truth, found, 1, 1).sum() == 0


@pytest.mark.parametrize("truth, found", [(TRUTH, objects([])), (objects([]), FOUND), (objects([]), objects([]))])
def test_without_objects_or_detections(truth, found):
    errors = break_down_errors(truth, found, 3, 2)
    assert errors.counts["missed"] == len(truth.image)
    assert errors.counts["background"] == len(found.image)
    matrix = confusion_matrix(truth, found, 3, 2, score_thr=0)
    assert matrix[2].sum() == len(found.image) and matrix[:, 2].sum() == len(truth.image)


def test_confusion_matrix_by_hand():
    #     detected: 0, 1, nothing
    assert confusion_matrix(TRUTH, FOUND, 3, 2, score_thr=0.25).tolist() == [
        [1, 0, 2],  # class 0: one found, the misplaced one and the one without a detection are missed
        [1, 1, 1],  # class 1: one taken for class 0, one found, one missed
        [4, 0, 0],  # duplicate, misplaced ones, background
    ]
    assert confusion_matrix(TRUTH, FOUND, 3, 2, score_thr=0.65).tolist() == [[1, 0, 2], [0, 0, 3], [2, 0, 0]]


def test_what_was_taken_belongs_to_what_took_it():
    rng = np.random.default_rng(3)
    boxes = np.concatenate([rng.uniform(0, 60, (200, 2)), rng.uniform(8, 30, (200, 2))], axis=1)
    rows = [(i % 9, i % 4, *box) for i, box in enumerate(boxes)]
    truth = objects([rows[i] for i in rng.permutation(200)])
    found = objects([(*rows[i], rng.random()) for i in rng.permutation(200)[:150]])
    matches = match_objects(truth, found, 9, 4)
    hit = matches.state[:, list(AREA_RANGES).index("all"), 0] == TRUE_POSITIVE
    assert hit.sum() > 100
    np.testing.assert_array_equal(matches.taken >= 0, hit)
    taken = matches.taken[hit]
    assert len(np.unique(taken)) == len(taken)
    for field in ("image", "label"):
        np.testing.assert_array_equal(getattr(found, field)[matches.row[hit]], getattr(truth, field)[taken])
    same = (found.boxes[matches.row[hit]] == truth.boxes[taken]).all(axis=1)
    assert same.mean() > 0.8  # the few others took a neighbour that overlaps enough
