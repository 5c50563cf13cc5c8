"""Learning rate of each step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LearningRateSchedule:
    """Warm-up from `warmup_ratio * base` to `base`, then multistep, cosine or linear decay, never under `minimum`.

    The decay runs over all steps, the warm-up replaces its beginning.

    Attributes:
        base: learning rate after the warm-up.
        minimum: least learning rate of the decay.
        steps_per_epoch: updates an epoch.
        epochs: number of epochs.
        warmup_steps: updates of warm-up.
        warmup_ratio: first learning rate as a share of `base`.
        kind: 'multistep', 'cosine' or 'linear'.
        milestones: for multistep, the epochs after which the rate is divided by 10.
    """

    base: float
    minimum: float
    steps_per_epoch: int
    epochs: int
    warmup_steps: int = 0
    warmup_ratio: float = 0.1
    kind: str = "multistep"
    milestones: tuple[int, ...] = ()

    def __call__(self, step: int) -> float:
        """Learning rate of update `step`, counted from 0."""
        if step < self.warmup_steps:
            share = step / self.warmup_steps
            return self.base * (self.warmup_ratio + (1 - self.warmup_ratio) * share)
        return max(self._decayed(step), self.minimum)

    def _decayed(self, step: int) -> float:
        if self.kind == "multistep":
            passed = sum(step >= epoch * self.steps_per_epoch for epoch in self.milestones)
            return self.base * 0.1**passed
        total = max(self.steps_per_epoch * self.epochs - self.warmup_steps, 1)
        progress = min((step - self.warmup_steps) / total, 1.0)
        if self.kind == "cosine":
            return self.minimum + (self.base - self.minimum) * 0.5 * (1 + math.cos(math.pi * progress))
        return self.minimum + (self.base - self.minimum) * (1 - progress)
