"""The updates of a training one after the other: what each learns from, and what came of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from src.data.batch import Batch
from src.data.loader import BatchLoader
from src.engine.lr_schedule import Schedule
from src.engine.train_step import Updater
from src.schema import Config
from src.weights.checkpoint import TrainingState


@dataclass(frozen=True, eq=False)
class PlannedStep:
    """What an update learns from.

    Attributes:
        batches: `accumulate_step` of them.
        rate: learning rate.
        number: of the update, counted from the start of the training.
    """

    batches: list[Batch]
    rate: float
    number: int

    @property
    def paths(self) -> list[str]:
        """Where its images came from."""
        return [str(path) for batch in self.batches for path in batch["path"]]


@dataclass(frozen=True)
class DoneStep:
    """What came of an update.

    Attributes:
        terms: losses in the order of the detector's `loss_names`, averaged over batches and devices.
        rate: learning rate.
        paths: where its images came from.
    """

    terms: list[float]
    rate: float
    paths: list[str]


class Steps(Protocol):
    """How a training takes its steps.

    Attributes:
        most: updates that may be taken together; between them nothing is known of the weights.
    """

    most: int

    def run(self, count: int) -> Iterator[DoneStep]:
        """Take the next updates, 1 to `most` of them, and tell of each."""

    def close(self) -> None:
        """End what prepares further steps."""


class SingleSteps:
    """Takes one update at a time, with a batch that is brought to the device for it."""

    most = 1

    def __init__(self, update: Updater, planned: Iterator[PlannedStep]) -> None:
        self.update, self.planned = update, planned

    def run(self, count: int) -> Iterator[DoneStep]:
        """See `Steps`."""
        for step in islice(self.planned, count):
            terms = self.update(step.batches, step.rate, step.number).asnumpy().tolist()
            yield DoneStep(terms, step.rate, step.paths)

    def close(self) -> None:
        """There is nothing to end."""


def plan_steps(
    config: Config, loader: BatchLoader, schedule: Schedule, steps_per_epoch: int, state: TrainingState
) -> Iterator[PlannedStep]:
    """The updates from where `state` is now up to the last epoch; batches are prepared when they are asked for."""
    first, number = state.step_in_epoch, state.step
    for epoch in range(state.epoch, config.epoch_size):
        batches = iter(loader.epoch(epoch, first * config.accumulate_step))
        for step in range(first, steps_per_epoch):
            rate = schedule(epoch * steps_per_epoch + step)
            yield PlannedStep(list(islice(batches, config.accumulate_step)), rate, number)
            number += 1
        first = 0


def count_steps(config: Config, steps_per_epoch: int, state: TrainingState) -> int:
    """How many updates `plan_steps` yields."""
    return (config.epoch_size - state.epoch) * steps_per_epoch - state.step_in_epoch
