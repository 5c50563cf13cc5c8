"""The value of an evaluation that decides which checkpoint is best, and when patience ends."""

import math
import re
from dataclasses import dataclass

from src.evaluation.metrics import Metrics
from src.schema.statistics import AUTO_METRIC, AUTO_METRICS, VALIDATION_LOSS

UNMEASURED = -1.0  # COCO's mark for "nothing to measure"


@dataclass(frozen=True)
class MainMetric:
    """What `main_metric` names.

    Attributes:
        name: checked value of the key.
    """

    name: str = AUTO_METRIC

    @property
    def grows(self) -> bool:
        """Whether more is better."""
        return self.name != VALIDATION_LOSS

    @property
    def label(self) -> str:
        """How names of files call it."""
        if self.name in (AUTO_METRIC, *AUTO_METRICS):
            return "AP"
        return re.sub(r"[^\w.-]", "_", self.name)

    def value(self, metrics: Metrics, losses: dict[str, float]) -> float:
        """The value of an evaluation; -1 where it measures nothing, such as AP of a class without objects.

        Args:
            metrics: of the detections.
            losses: what `ValidationLoss.means` gives; empty without.
        """
        if self.name == AUTO_METRIC:
            return metrics.stats[[name for name in AUTO_METRICS if name in metrics.stats][-1]]
        return losses[self.name] if self.name in losses else metrics.value(self.name)

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a value is better than the best so far, of which there may be none."""
        if best is None:
            best = UNMEASURED if self.grows else math.inf
        return value > best if self.grows else value < best
