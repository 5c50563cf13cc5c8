"""Steps sunk to the device: batches wait there in a queue, and losses come back for several steps at a time."""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition

import mindspore as ms
import mindspore.dataset as ds
import numpy as np
from mindspore import Tensor, nn, ops

from src.engine.steps import DoneStep, PlannedStep
from src.engine.train_step import BATCH_INPUTS, Updater

AHEAD = 4  # steps prepared before the one that is taken; a large batch has hundreds of megabytes


class SunkStep(nn.Cell):
    """One update whose inputs all come from the queue."""

    def __init__(self, update: Updater) -> None:
        super().__init__(auto_prefix=False)
        self.step = update.step
        self.learning_rate = update.optimizer.learning_rate
        self.averages = update.averages
        self.counter = update.counter
        self.mean_over_devices = update.mean_over_devices
        self.least_positives = 1.0 / update.world

    def construct(
        self,
        learning_rate: Tensor,
        kept: Tensor,
        seed: Tensor,
        image: Tensor,
        image_info: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        *masks: Tensor,
    ) -> Tensor:
        """Update the weights.

        Args:
            learning_rate: float32 scalar.
            kept: float32 scalar, what averages of the weights keep in this update.
            seed: int32 scalar, of random choices.
            image: with those that follow as in `Batch`.
            image_info: as in `Batch`.
            boxes: as in `Batch`.
            labels: as in `Batch`.
            valid: as in `Batch`.
            *masks: of the batch, where it has any.

        Returns:
            Loss terms of this device, float32 [T].
        """
        ops.assign(self.learning_rate, learning_rate)
        if self.averages is not None:
            ops.assign(self.averages.kept, kept)
        normalizer = None
        if self.counter is not None:
            positives = self.mean_over_devices(self.counter(boxes, labels, valid, image_info))
            normalizer = ops.maximum(positives, self.least_positives)
        objects = masks[0] if masks else None
        return self.step(image, image_info, boxes, labels, valid, objects, normalizer, seed)


class StepSource:
    """The steps by their number, as rows of a data set that MindSpore's threads read.

    The data set reads the first row several times to know its form, then each row once, and starts again at the end. An
    error must not leave the device waiting: it is kept for who asks for the step, and other rows stand in until then.

    Args:
        planned: the steps.
        count: how many.
        columns: what is sent of a step.
    """

    def __init__(
        self, planned: Iterator[PlannedStep], count: int, columns: Callable[[PlannedStep], tuple[np.ndarray, ...]]
    ) -> None:
        self.planned, self.count, self.columns = planned, count, columns
        self.sent: deque[tuple[float, list[str]]] = deque()
        self.made, self.taken = 0, 0
        self.error: Exception | None = None
        self.closed = False
        self.changed = Condition()
        self.first = self._make()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """Row `index`, once no more than `AHEAD` rows before it wait to be taken."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or index < self.taken + AHEAD)
        if self.closed or self.error is not None or index < self.made:
            return self.first
        try:
            return self._make()
        except Exception as error:  # of whatever kind, the step that it belongs to raises it
            self.error = error
            return self.first

    def take(self) -> None:
        """Note that the device takes a row."""
        with self.changed:
            self.taken += 1
            self.changed.notify_all()

    def next_sent(self) -> tuple[float, list[str]]:
        """Learning rate and images of the next step that was sent.

        Raises:
            Exception: what went wrong when it was prepared.
        """
        if not self.sent and self.error is not None:
            raise self.error
        return self.sent.popleft()

    def close(self) -> None:
        """Prepare nothing more."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def _make(self) -> tuple[np.ndarray, ...]:
        step = next(self.planned)
        row = self.columns(step)
        self.sent.append((step.rate, step.paths))
        self.made += 1
        return row


class SunkSteps:
    """Takes up to `most` updates whose batches a thread has put into the device's queue, then fetches their losses.

    Args:
        update: what an update is: of one batch, without a dynamic loss scale.
        planned: the steps of the training; the batches of all have the same shapes.
        count: how many.
        most: `sink_size`.
        jit_level: how far the compiler optimizes; empty: O0.
    """

    def __init__(
        self, update: Updater, planned: Iterator[PlannedStep], count: int, most: int, jit_level: str = ""
    ) -> None:
        self.update, self.planned, self.count, self.most = update, planned, count, most
        self.jit_level = jit_level or "O0"
        self.queue: SunkQueue | None = None

    def run(self, count: int) -> Iterator[DoneStep]:
        """See `Steps`."""
        if self.queue is None:
            source = StepSource(self.planned, self.count, self._columns)
            self.queue = SunkQueue(self.update, source, self.jit_level)
        terms = [self.queue.step() for _ in range(count)]
        for values in terms:
            rate, paths = self.queue.source.next_sent()
            yield DoneStep(self.update.mean_over_devices(values).asnumpy().tolist(), rate, paths)

    def close(self) -> None:
        """Empty the queue."""
        if self.queue is not None:
            self.queue.close()

    def _columns(self, step: PlannedStep) -> tuple[np.ndarray, ...]:
        """What `SunkStep` takes."""
        (batch,) = step.batches
        averages = self.update.averages
        kept = 0.0 if averages is None else averages.share_kept(step.number)
        scalars = (np.float32(step.rate), np.float32(kept), np.int32(self.update.seed(step.number)))
        arrays = [batch[name] for name in (*BATCH_INPUTS, "masks") if name in batch]
        return (*map(np.asarray, scalars), *arrays)


class SunkQueue:
    """The device's queue of rows, and the graph that takes one row after the other."""

    def __init__(self, update: Updater, source: StepSource, jit_level: str) -> None:
        self.source = source
        names = [f"column_{index}" for index in range(len(source.first))]
        self.rows = ds.GeneratorDataset(
            source, names, num_parallel_workers=1, shuffle=False, python_multiprocessing=False
        )
        # Rows of known forms spare what looks at each one. Of data_sink's own repetitions only the last result would
        # come back: on these devices they are the same calls.
        forms = tuple(Tensor(column) for column in source.first)
        options = ms.JitConfig(jit_level=jit_level)
        self.sunk = ms.data_sink(SunkStep(update), self.rows, jit_config=options, input_signature=forms)

    def step(self) -> Tensor:
        """Take one update; returns its loss terms, which are still on the device."""
        self.source.take()
        return self.sunk()

    def close(self) -> None:
        """End the thread that fills the queue."""
        self.source.close()
        queue = self.rows.__transfer_dataset__
        queue.stop_send()
        queue.release()
