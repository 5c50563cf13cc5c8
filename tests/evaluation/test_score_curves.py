"""Precision, recall and F1 over the least score, on cases that were worked out by hand."""

import numpy as np
import pytest

from src.evaluation.coco_matching import match_objects
from src.evaluation.score_curves import THRESHOLDS, place_of_greatest, score_curves
from tests.evaluation.test_error_types import objects

# Class 0: two objects; 1: one object, never found; 2: no objects.
TRUTH = objects([(0, 0, 0, 0, 10, 10), (0, 0, 50, 0, 10, 10), (1, 1, 0, 0, 10, 10)])
FOUND = objects(
    [
        (0, 0, 0, 0, 10, 10, 0.9),  # right
        (0, 0, 80, 80, 10, 10, 0.7),  # wrong
        (0, 0, 50, 0, 10, 10, 0.5),  # right
        (1, 0, 80, 80, 10, 10, 0.2),  # wrong
        (1, 2, 0, 0, 10, 10, 0.6),  # wrong: no object has this class
    ]
)


def curves(truth=TRUTH, found=FOUND):
    return score_curves(match_objects(truth, found, 2, 3))


def at(threshold):
    return int(np.flatnonzero(np.isclose(THRESHOLDS, threshold))[0])


@pytest.mark.parametrize(
    "threshold, precision, recall, f1",
    [(0.0, 2 / 4, 1, 4 / 6), (0.3, 2 / 3, 1, 4 / 5), (0.5, 2 / 3, 1, 4 / 5), (0.6, 1 / 2, 1 / 2, 1 / 2),
     (0.8, 1, 1 / 2, 2 / 3), (0.95, 1, 0, 0)],
)  # fmt: skip
def test_curves_by_hand(threshold, precision, recall, f1):
    found = curves()
    values = [curve[0, at(threshold)] for curve in (found.precision, found.recall, found.f1)]
    assert values == pytest.approx([precision, recall, f1])


def test_the_best_threshold_is_in_the_middle_of_the_equal_ones():
    found = curves()
    assert found.objects.tolist() == [2, 1, 0]
    best = found.best_places()
    assert THRESHOLDS[best[0]] == pytest.approx(0.36)  # of 0.21 to 0.50
    assert best[1:].tolist() == [-1, -1]
    # The mean of the two classes with objects is half of the first one's F1.
    np.testing.assert_allclose(found.mean_f1, found.f1[0] / 2)
    assert found.best_for_all() == pytest.approx(0.36)
    assert place_of_greatest(np.array([1.0, 0, 1, 1])) == 2


@pytest.mark.parametrize("kind", ["crowd", "difficult"])
def test_what_does_not_count_is_left_out(kind):
    found = curves(objects([(0, 0, 0, 0, 10, 10)], **{kind: [0]}), objects([(0, 0, 0, 0, 10, 10, 0.9)]))
    assert found.objects.tolist() == [0, 0, 0]
    assert (found.precision == 1).all() and not found.f1.any() and found.best_places().tolist() == [-1, -1, -1]


def test_without_detections():
    found = curves(found=objects([]))
    assert not found.recall.any() and not found.f1.any()
