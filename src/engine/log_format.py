"""Lines of trainings and evaluations as the published READMEs show them; `log_format` chooses."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class StepReport(NamedTuple):
    """One step of a training.

    Attributes:
        epoch: from 1.
        step: within the epoch, from 1.
        loss: sum of the terms.
        terms: loss terms by name.
        rate: learning rate.
    """

    epoch: int
    step: int
    loss: float
    terms: dict[str, float]
    rate: float


class TimedFormat:
    """Lines with time and level, as SpineNet-RetinaNet's and InstaBoost's READMEs have them; loss terms follow.

    Attributes:
        bare: whether the lines of steps and epochs stand without time and level.
        counts_evaluation: whether an epoch's time has that of its evaluation in it.
    """

    bare = False
    counts_evaluation = True

    def step_lines(self, report: StepReport) -> list[str]:
        """Lines of a step."""
        terms = "".join(f", {name}: {value:.6f}" for name, value in report.terms.items())
        return [
            f"epoch: {report.epoch}, step: {report.step}, loss: {report.loss:.6f},  lr: {report.rate:.6f}{terms}",
        ]

    def epoch_line(self, milliseconds: float, steps: int) -> str:
        """Line at the end of an epoch of so many steps."""
        return f"Train epoch time: {milliseconds:.3f} ms, per step time: {milliseconds / steps:.3f} ms"

    def result_line(self, kind: str, value: float) -> str:
        """What follows the table of an evaluation: its mAP, of kind 'bbox' or 'segm'."""
        name = {"bbox": "Bbox", "segm": "Segmentation"}[kind]
        return f"{name} eval result: {value}"


@dataclass(frozen=True)
class MonitorFormat:
    """Lines of MindSpore's LossMonitor and TimeMonitor, as NAS-FPN's and RefineDet's READMEs have them.

    Attributes:
        with_rate: whether the learning rate has a line (NAS-FPN's).
        bare: see `TimedFormat`.
        counts_evaluation: see `TimedFormat`.
    """

    with_rate: bool
    bare: bool = True
    counts_evaluation: bool = False

    def step_lines(self, report: StepReport) -> list[str]:
        """See `TimedFormat`; the loss has the digits of a float32."""
        lines = [f"epoch: {report.epoch} step: {report.step}, loss is {np.float32(report.loss)!s}"]
        if self.with_rate:
            lines.append(f"lr:[{report.rate:.6f}]")
        return lines

    def epoch_line(self, milliseconds: float, steps: int) -> str:
        """See `TimedFormat`."""
        return f"epoch time: {milliseconds:.3f} ms, per step time: {milliseconds / steps:.3f} ms"

    def result_line(self, kind: str, value: float) -> str:
        """See `TimedFormat`."""
        name = {"bbox": "mAP", "segm": "segm mAP"}[kind]
        return f"\n{'=' * 40}\n\n{name}: {value}"


LogFormat = TimedFormat | MonitorFormat

LOG_FORMATS: dict[str, LogFormat] = {
    "timed": TimedFormat(),
    "monitor": MonitorFormat(with_rate=False),
    "monitor_lr": MonitorFormat(with_rate=True),
}
