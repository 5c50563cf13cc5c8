"""A short training whose learning rate rises from step to step, to see which rates a network bears (Smith 2015)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice

from src.data.batch import Batch
from src.data.loader import BatchLoader
from src.engine.train_step import Updater
from src.visual.curves import running_mean

GIVEN_UP = 4.0  # the sweep ends where the smoothed loss is so many times the lowest
SHARE_OF_LOWEST = 0.1  # the suggested rate, of that with the lowest loss: there, training is about to diverge


@dataclass
class RateSweep:
    """Losses by learning rate.

    Attributes:
        planned: the rates to try, growing.
        losses: of the first so many of them.
    """

    planned: list[float]
    losses: list[float] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        """Those that `losses` are of."""
        return self.planned[: len(self.losses)]

    @property
    def smoothed(self) -> list[float]:
        """Running means of the losses."""
        return running_mean(self.losses)

    @property
    def lowest(self) -> int:
        """Where the smoothed loss is lowest."""
        smoothed = self.smoothed
        return smoothed.index(min(smoothed))

    @property
    def suggested(self) -> float | None:
        """A tenth of the rate of the lowest loss; None: the loss has not fallen, or not begun to rise again."""
        if not self.losses or self.lowest in (0, len(self.planned) - 1):
            return None
        return SHARE_OF_LOWEST * self.rates[self.lowest]

    def run(self, loss_at: Callable[[float], float]) -> None:
        """Try the rates, until the loss is not finite or far above the lowest."""
        for rate in self.planned:
            loss = loss_at(rate)
            if not math.isfinite(loss):
                return
            self.losses.append(loss)
            if self.smoothed[-1] > GIVEN_UP * min(self.smoothed):
                return


def rising_rates(first: float, last: float, steps: int) -> list[float]:
    """`steps` rates from `first` to `last`, each by the same factor above the one before."""
    return [first * (last / first) ** (step / (steps - 1)) for step in range(steps)]


def loss_of_updates(update: Updater, loader: BatchLoader) -> Callable[[float], float]:
    """Learning rate -> loss of the next update, over as many epochs as are needed."""
    batches = _endless(loader)
    steps = count()

    def loss_at(rate: float) -> float:
        terms = update(list(islice(batches, update.accumulate)), rate, next(steps))
        return float(terms.asnumpy().sum())

    return loss_at


def _endless(loader: BatchLoader) -> Iterator[Batch]:
    for epoch in count():
        yield from loader.epoch(epoch)
