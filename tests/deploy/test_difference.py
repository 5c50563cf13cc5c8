import numpy as np
import pytest

from src.blocks.detections import Detections
from src.deploy.difference import NOTHING, detections_difference, raw_difference

INFO = np.array([[100, 200, 64, 128, 0.64, 0.64]], np.float32)
BOXES = np.array([[[0, 0, 10, 10], [20, 20, 60, 40], [100, 10, 180, 90]]], np.float32)
SCORES = np.array([[0.9, 0.5, 0.3]], np.float32)
LABELS = np.array([[0, 1, 1]], np.int32)
VALID = np.ones((1, 3), bool)
MASKS = np.full((1, 3, 28, 28), 0.25, np.float32)
FOUND = Detections(BOXES, SCORES, LABELS, VALID, MASKS)


def moved(**changes) -> Detections:
    """`FOUND` with some values changed: name=(place, change)."""
    values = {name: getattr(FOUND, name).copy() for name in changes}
    for name, (place, change) in changes.items():
        values[name][place] += change
    return FOUND._replace(**values)


def test_raw_boxes_count_in_shares_of_the_input_or_of_themselves():
    boxes = np.array([[[0, 0, 10, 10], [-500, 0, 500, 10]]], np.float32)
    scores = np.zeros((1, 2, 3), np.float32)
    other = boxes.copy()
    other[0, 1, 2] += 1
    assert raw_difference([other, scores], [boxes, scores], 100) == (pytest.approx(1 / 1000), "boxes[0, 1, 2]")
    other[0, 0, 3] += 1
    assert raw_difference([other, scores], [boxes, scores], 100) == (pytest.approx(1 / 100), "boxes[0, 0, 3]")
    other[0, 0, 0] = np.nan
    assert raw_difference([other, scores], [boxes, scores], 100) == (np.inf, "boxes[0, 0, 0]")


def test_raw_scores_count_as_they_are():
    boxes, scores = np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 3), np.float32)
    other = scores.copy()
    other[0, 1, 2] = 0.01
    assert raw_difference([boxes, other], [boxes, scores], 100) == (pytest.approx(0.01), "scores[0, 1, 2]")


@pytest.mark.parametrize(
    ("change", "size", "place"),
    [
        ({"boxes": ((0, 1, 0), 2.0)}, 2 / 200, "detection 1"),
        ({"scores": ((0, 1), 0.02)}, 0.02, "detection 1"),
        ({"masks": ((0, 0, 5, 5), 0.1)}, 0.1, "detection 0, mask"),
        ({"labels": ((0, 0), 1)}, 0.6, "detection 0, unmatched"),
        ({"scores": ((0, 0), np.nan)}, np.inf, "detection 0"),
    ],
)
def test_detections(change, size, place):
    found = detections_difference(moved(**change), FOUND, INFO, 0.05)
    assert found.size == pytest.approx(size, abs=1e-6) and place in found.place


def test_places_in_the_list_do_not_count():
    order = [0, 2, 1]
    swapped = Detections(*(value[:, order] for value in FOUND))
    assert detections_difference(swapped, FOUND, INFO, 0.05).size == 0


def test_a_last_row_that_another_took_costs_nothing():
    assert detections_difference(moved(boxes=((0, 2), 50.0)), FOUND, INFO, 0.05).size == pytest.approx(0)


def test_boxes_that_are_all_elsewhere_are_not_excused_by_equal_scores():
    equal = FOUND._replace(scores=np.full((1, 3), 0.5, np.float32))
    moved_all = equal._replace(boxes=BOXES + np.float32(20))
    found = detections_difference(moved_all, equal, INFO, 0.05)
    assert found.size == pytest.approx(20 / 200) and "unmatched as most" in found.place
    others = equal._replace(labels=LABELS + 5)
    assert detections_difference(others, equal, INFO, 0.05).size == pytest.approx(0.5)


def test_rows_that_the_file_has_not_are_not_compared():
    two = Detections(*(value[:, :2] for value in FOUND))
    assert detections_difference(two, FOUND, INFO, 0.05).size == 0


def test_nothing_found():
    empty = FOUND._replace(valid=np.zeros((1, 3), bool))
    assert detections_difference(empty, empty, INFO, 0.05) == NOTHING
    assert detections_difference(FOUND, FOUND, INFO, 0.05) != NOTHING
    assert detections_difference(empty, FOUND, INFO, 0.05).size == pytest.approx(0.6)
    one = FOUND._replace(valid=np.array([[True, False, False]]))
    assert detections_difference(empty, one, INFO, 0.05).size == pytest.approx(0.85)
