"""Precision, recall and F1 of each class when detections below a score are left out, and which score is best."""

from dataclasses import dataclass

import numpy as np

from src.evaluation.coco_matching import AREA_RANGES, IGNORED, TRUE_POSITIVE, Matches

THRESHOLDS = np.linspace(0.0, 1.0, 101)


@dataclass
class ScoreCurves:
    """Curves of K classes over THRESHOLDS, for the lowest IoU of the matches (0.5) and objects of any size.

    Attributes:
        precision: float64 [K, 101], share of the detections with that score or more that are right; 1 without any.
        recall: float64 [K, 101], share of the objects that they find; 0 for a class without objects.
        f1: float64 [K, 101], harmonic mean of the two.
        objects: int64 [K], objects that count.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    objects: np.ndarray

    @property
    def mean_f1(self) -> np.ndarray:
        """Mean over the classes with objects, float64 [101]; zeros where there are none."""
        counted = self.f1[self.objects > 0]
        return counted.mean(axis=0) if len(counted) else np.zeros(len(THRESHOLDS))

    def best_places(self) -> np.ndarray:
        """The place in THRESHOLDS where each class's F1 is greatest; int64 [K], -1 for a class that is never found."""
        return np.array([place_of_greatest(f1) if f1.any() else -1 for f1 in self.f1], np.int64)

    def best_for_all(self) -> float:
        """The threshold with the greatest mean F1."""
        return float(THRESHOLDS[place_of_greatest(self.mean_f1)])


def place_of_greatest(values: np.ndarray) -> int:
    """The place of the greatest value; of equal ones the middle one, which is farthest from losing what makes it so."""
    equal = np.flatnonzero(values >= values.max() - 1e-12)
    return int(equal[len(equal) // 2])


def score_curves(matches: Matches) -> ScoreCurves:
    """The curves of matched detections.

    Args:
        matches: of the whole data set; detections on crowds and on difficult objects do not count.
    """
    area = list(AREA_RANGES).index("all")
    objects = matches.positives[:, area]
    state = matches.state[:, area, 0]
    found, right = np.zeros((2, len(objects), len(THRESHOLDS)))
    for k in range(len(objects)):
        of_class = matches.label == k
        for counts, chosen in ((found, state != IGNORED), (right, state == TRUE_POSITIVE)):
            scores = np.sort(matches.score[of_class & chosen])
            counts[k] = len(scores) - np.searchsorted(scores, THRESHOLDS, side="left")
    precision = np.divide(right, found, out=np.ones_like(right), where=found > 0)
    recall = right / np.maximum(objects, 1)[:, None]
    # 2 PR / (P + R) = 2 right / (found + objects), which also holds where nothing is found.
    f1 = 2 * right / np.maximum(found + objects[:, None], 1)
    return ScoreCurves(precision, recall, f1, objects)
