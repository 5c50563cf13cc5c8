"""Learning rate of each step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from src.schema import Config

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class LearningRateSchedule:
    """Warm-up from `warmup_ratio * base` to `base`, then multistep, cosine or linear decay, never below `minimum`.

    The decay runs over all steps, the warm-up replaces its beginning.

    Attributes:
        base: learning rate after the warm-up.
        minimum: lowest learning rate of the decay.
        steps_per_epoch: updates per epoch.
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
            return _cosine(self.base, self.minimum, progress)
        return self.minimum + (self.base - self.minimum) * (1 - progress)


@dataclass(frozen=True)
class FivePhaseSchedule:
    """Five linear ramps, each ending ten times as high as the one before, then a cosine.

    The schedule of the published MindSpore NAS-FPN. Its README names the keys and prints learning rates of the first
    two ramps; the first ramp ends at a third of where the second begins, and the second begins where, ten times
    lower, the third does.

    Attributes:
        base: learning rate at the end of the fifth ramp.
        initial: that of the first step.
        end_rate: last learning rate of the cosine as a share of `base`.
        steps_per_epoch: updates per epoch.
        epochs: number of epochs.
        warmup_epochs: epochs of each ramp.
    """

    base: float
    initial: float
    end_rate: float
    steps_per_epoch: int
    epochs: int
    warmup_epochs: tuple[int, int, int, int, int]

    def __call__(self, step: int) -> float:
        """Learning rate of update `step`, counted from 0."""
        ramps = [(self.initial, self.base * 1e-4 / 3)]
        ramps += [(self.base * 10.0**power, self.base * 10.0 ** (power + 1)) for power in range(-4, 0)]
        for (first, last), epochs in zip(ramps, self.warmup_epochs, strict=True):
            steps = epochs * self.steps_per_epoch
            if step < steps:
                return first + (last - first) * step / steps
            step -= steps
        total = (self.epochs - sum(self.warmup_epochs)) * self.steps_per_epoch
        return _cosine(self.base, self.base * self.end_rate, min(step / max(total, 1), 1.0))


def _cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * progress))


def images_per_step(config: Config, world: int) -> int:
    """Images of one update on `world` devices."""
    return config.batch_size * config.accumulate_step * world


def base_rate(config: Config, world: int) -> float:
    """`lr`, for the images of a step where `auto_scale_lr` asks for it (linear scaling, Goyal et al. 2017)."""
    if not config.auto_scale_lr:
        return config.lr
    return config.lr * images_per_step(config, world) / config.base_batch_size


def build_schedule(config: Config, steps_per_epoch: int, world: int = 1) -> Schedule:
    """The schedule that `config.lr_type` names, on `world` devices."""
    base = base_rate(config, world)
    if config.lr_type == "five_phase":
        return FivePhaseSchedule(
            base, config.lr_init, config.lr_end_rate, steps_per_epoch, config.epoch_size, config.warmup_epochs
        )
    return LearningRateSchedule(
        base,
        config.min_lr,
        steps_per_epoch,
        config.epoch_size,
        config.warmup_step,
        config.warmup_ratio,
        config.lr_type,
        tuple(config.lr_steps),
    )
