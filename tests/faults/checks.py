"""What must hold of whatever is read."""

import math
from contextlib import suppress
from typing import Any

from src.data.image import ImageError
from src.data.sample import read_sample
from src.evaluation.coco_evaluator import CocoEvaluator
from tests.faults.campaign import SilentError


def check(holds: object, what: str) -> None:
    if not holds:
        raise SilentError(what)


def check_finite(value: Any, where: str = "") -> None:
    """No number anywhere in nested values is NaN or infinite."""
    if isinstance(value, dict):
        for name, one in value.items():
            check_finite(one, f"{where}.{name}")
    elif isinstance(value, list):
        for one in value:
            check_finite(one, where)
    elif isinstance(value, float):
        check(math.isfinite(value), f"{where} is {value}")


def check_records(dataset: Any, classes: int) -> None:
    """Boxes lie in their images, labels among the classes; the ground truth can be evaluated."""
    for record in dataset.records:
        check(record.height > 0 and record.width > 0, "an image without pixels")
        x1, y1, x2, y2 = record.boxes.T
        inside = (x1 >= 0) & (y1 >= 0) & (x2 <= record.width) & (y2 <= record.height) & (x1 < x2) & (y1 < y2)
        check(inside.all(), f"boxes {record.boxes.tolist()} in {record.width}x{record.height}")
        check(((record.labels >= 0) & (record.labels < classes)).all(), "a label beyond the classes")
    with_masks = any(record.masks for record in dataset.records)
    evaluator = CocoEvaluator.for_dataset(dataset, ("bbox", "segm") if with_masks else ("bbox",))
    check_finite(evaluator.compute_metrics().stats)
    for record in dataset.records[:3]:
        with suppress(ImageError):
            read_sample(record)
