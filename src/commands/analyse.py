"""What a detector gets wrong: the work of tools/analyse_predictions.py."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from src.common.atomic import atomic_path
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.confusion import confusion_matrix
from src.evaluation.error_types import ERRORS, ErrorBreakdown, break_down_errors
from src.evaluation.metrics import Metrics
from src.visual.analysis_charts import draw_class_ap, draw_confusion, draw_errors


def analyse(
    evaluator: CocoEvaluator, output_dir: str | Path, score_thr: float = 0.3, metrics: Metrics | None = None
) -> list[Path]:
    """Write confusion_matrix.png, class_ap.png, errors.png and their numbers, analysis.json; print the errors.

    Args:
        evaluator: ground truth and detections of the whole data set.
        output_dir: made if needed.
        score_thr: minimum score of a detection in the confusion matrix; AP and errors take all.
        metrics: of `evaluator`, where they were computed before.

    Returns:
        The files.
    """
    images, names = evaluator.all_image_ids, evaluator.class_names
    truth = evaluator.truth(images)
    found = evaluator.found(images)
    metrics = metrics or evaluator.compute_metrics()
    matrix = confusion_matrix(truth, found, len(images), len(names), score_thr)
    errors = break_down_errors(truth, found, len(images), len(names))
    objects = np.bincount(truth.label[~truth.uncounted], minlength=len(names)).tolist()

    folder = Path(output_dir)
    paths = [folder / name for name in ("confusion_matrix.png", "class_ap.png", "errors.png", "analysis.json")]
    draw_confusion(paths[0], matrix, names, score_thr)
    draw_class_ap(paths[1], metrics, objects)
    draw_errors(paths[2], errors, names)
    numbers = {
        "classes": names,
        "objects": objects,
        "per_class_AP": metrics.per_class,
        "per_class_AP50": metrics.per_class_50,
        "confusion_matrix": matrix.tolist(),
        "confusion_score_thr": score_thr,
        "errors": {**asdict(errors), "best": dict(zip(names, errors.best.tolist(), strict=True))},
    }
    with atomic_path(paths[3]) as temporary:
        temporary.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(f"{error_table(errors)}\n" + "\n".join(str(path) for path in paths), flush=True)
    return paths


def error_table(errors: ErrorBreakdown) -> str:
    """One line per kind of error: how many there are, and what AP50 would gain."""
    lines = [f" AP50 {errors.ap50:.3f}", f" {'error':<13} {'count':>7} {'AP50 gain':>10}"]
    lines += [f" {name:<13} {errors.counts[name]:>7} {errors.gains[name]:>10.3f}" for name in ERRORS]
    return "\n".join(lines)
