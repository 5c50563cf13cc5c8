"""Checks that several detectors share."""

from collections.abc import Iterator

from src.models.api import Problem
from src.schema.sections import AssignerConfig


def check_assigner(name: str, assigner: AssignerConfig) -> Iterator[Problem]:
    """Thresholds of the section `name` that contradict each other."""
    if assigner.neg_iou_thr > assigner.pos_iou_thr:
        yield f"{name}.neg_iou_thr", f"is {assigner.neg_iou_thr}, above pos_iou_thr {assigner.pos_iou_thr}"
