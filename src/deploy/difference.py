"""How far the outputs of an exported file are from those of the checkpoint.

Scores and mask probabilities count as they are; coordinates count as fractions of the image's longer side, or of the
box's own where that is longer (raw boxes are not clipped).
"""

from typing import NamedTuple

import numpy as np

from src.blocks.detections import Detections
from src.blocks.image_info import original_hw

TOLERANCE = 1e-3


class Difference(NamedTuple):
    """The largest difference, and the output and row where it is."""

    size: float
    place: str

    def __str__(self) -> str:
        return f"{self.size:.1e} (at {self.place})"


NOTHING = Difference(0.0, "no detection")


def raw_difference(found: list[np.ndarray], expected: list[np.ndarray], side: float) -> Difference:
    """The largest difference of boxes [B,N,4] and scores [B,N,K].

    Args:
        found: boxes, scores.
        expected: likewise.
        side: longer side of the network's input.
    """
    own = np.abs(expected[0][..., 2:] - expected[0][..., :2]).max(axis=-1, keepdims=True)
    terms = {
        "boxes": np.abs(found[0] - expected[0]) / np.maximum(own, side),
        "scores": np.abs(found[1] - expected[1]),
    }
    return _largest(terms)


def detections_difference(
    found: Detections, expected: Detections, image_info: np.ndarray, score_thr: float
) -> Difference:
    """The largest difference of a batch's detections, each compared with the nearest one of its class.

    Detections whose order depends on rounding may change places. An unmatched one counts as much as its score exceeds
    what it takes to be among the detections: the threshold or, where all rows are in use, the last row's score. Where
    more than half of an image's are unmatched, rounding is no excuse: they count as far as they are apart.

    Args:
        found: M rows per image.
        expected: at least as many rows per image; those beyond M are not compared.
        image_info: float32 [B,6], see `src.blocks.image_info`.
        score_thr: minimum score of a detection.
    """
    terms: list[Difference] = []
    rows = found.scores.shape[1]
    for b, info in enumerate(image_info):
        first = _valid_rows(expected, b, rows)
        second = _valid_rows(found, b, rows)
        for these, others, whose in ((second, first, "file"), (first, second, "checkpoint")):
            entry = these.scores.min() if len(these.scores) == rows else score_thr
            terms += _one_way(these, others, max(original_hw(info)), entry, f"image {b}, the {whose}'s")
    return max(terms, key=lambda term: term.size, default=NOTHING)


def _valid_rows(detections: Detections, image: int, rows: int) -> Detections:
    kept = np.flatnonzero(np.asarray(detections.valid[image][:rows], bool))
    boxes, scores, labels, valid = (value[image][kept] for value in detections[:4])
    return Detections(boxes, scores, labels, valid, None if detections.masks is None else detections.masks[image][kept])


def _one_way(these: Detections, others: Detections, side: float, entry: float, name: str) -> list[Difference]:
    """A difference for each of the detections of one image; `entry`: the score of one that might as well be missing."""
    found: list[Difference] = []
    unmatched: list[Difference] = []
    for row in range(len(these.scores)):
        place = f"{name} detection {row}"
        same = np.flatnonzero(others.labels == these.labels[row])
        apart = np.abs(others.boxes[same] - these.boxes[row]).max(axis=1, initial=0) / side
        apart = np.maximum(apart, np.abs(others.scores[same] - these.scores[row]))
        apart = np.nan_to_num(apart, nan=np.inf)
        nearest = same[apart.argmin()] if len(same) else None
        alone = float(these.scores[row] - entry)
        if nearest is None or alone < apart.min():
            found.append(Difference(alone, f"{place}, unmatched"))
            distance = these.scores[row] if nearest is None else apart.min()
            unmatched.append(Difference(float(distance), f"{place}, unmatched as most"))
            continue
        found.append(Difference(float(apart.min()), place))
        if these.masks is not None and others.masks is not None:
            masks = np.abs(these.masks[row] - others.masks[nearest]).max()
            found.append(Difference(float(masks), f"{place}, mask"))
    if len(others.scores) and 2 * len(unmatched) > len(these.scores):
        found += unmatched
    return found


def _largest(terms: dict[str, np.ndarray]) -> Difference:
    name = max(terms, key=lambda term: np.nan_to_num(terms[term], nan=np.inf).max())
    values = np.nan_to_num(terms[name], nan=np.inf)
    place = np.unravel_index(values.argmax(), values.shape)
    return Difference(float(values[place]), f"{name}{[int(i) for i in place]}")
