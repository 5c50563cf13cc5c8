"""Two sets of detections on the same images: which objects each of them finds."""

from dataclasses import dataclass

import numpy as np

from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.coco_matching import AREA_RANGES, FALSE_POSITIVE, TRUE_POSITIVE, Objects, match_objects
from src.evaluation.metrics import Metrics
from src.evaluation.score_curves import score_curves


@dataclass
class Run:
    """What one detector did on a data set.

    Attributes:
        name: of the run.
        metrics: of all of its detections.
        threshold: least score with its greatest mean F1; what follows is about detections from there.
        found: the N detections.
        wrong: bool [N], neither right at IoU 0.5 nor on a crowd or a difficult object.
        detects: bool [G], the objects that it finds.
    """

    name: str
    metrics: Metrics
    threshold: float
    found: Objects
    wrong: np.ndarray
    detects: np.ndarray


def run_of(name: str, evaluator: CocoEvaluator) -> Run:
    """What the detections of an evaluator come to; the objects are those of its `truth`."""
    images, num_classes = evaluator.all_image_ids, len(evaluator.class_names)
    truth, found = evaluator.truth(images), evaluator.found(images)
    threshold = score_curves(match_objects(truth, found, len(images), num_classes)).best_for_all()
    kept = found.take(np.flatnonzero(found.score >= threshold))
    matches = match_objects(truth, kept, len(images), num_classes)
    state = matches.state[:, list(AREA_RANGES).index("all"), 0]
    wrong, detects = np.zeros(len(kept.image), bool), np.zeros(len(truth.image), bool)
    wrong[matches.row[state == FALSE_POSITIVE]] = True
    detects[matches.taken[state == TRUE_POSITIVE]] = True
    return Run(name, evaluator.compute_metrics(), threshold, kept, wrong, detects)


def difference_by_image(first: Run, second: Run, truth: Objects, num_images: int) -> np.ndarray:
    """How much two runs differ on each image.

    Returns:
        int64 [num_images]: the objects that one of them alone finds, plus the difference between the numbers of their
        wrong detections.
    """
    wrong = [np.bincount(run.found.image[run.wrong], minlength=num_images) for run in (first, second)]
    return np.bincount(truth.image[first.detects != second.detects], minlength=num_images) + np.abs(wrong[0] - wrong[1])
