"""Threads and processes that decode and transform images ahead of the network."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process

import cv2
import numpy as np

from src.data.image import USUAL_RULES, ImageRules
from src.data.record import Record
from src.data.sample import Sample, read_sample
from src.data.transforms import Transform, apply_transforms


@dataclass(frozen=True)
class WorkerOptions:
    """How many images are prepared at a time.

    Attributes:
        count: workers; 0: images are prepared in the calling thread.
        use_processes: decode and transform in processes; else in threads.
        rules: which images are read.
    """

    count: int = 0
    use_processes: bool = False
    rules: ImageRules = USUAL_RULES


class Workers:
    """Runs a loader's tasks, and prepares samples for them; started at the first task.

    Args:
        options: how many, and of what kind.
        transforms: applied to each sample.
    """

    def __init__(self, options: WorkerOptions, transforms: Sequence[Transform]) -> None:
        self.options = options
        self._transforms = list(transforms)
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPoolExecutor | None = None

    def submit(self, task: Callable[..., object], *arguments: object) -> Future:
        """Run a task in a thread; without workers, at once. Its errors come out of the future's `result()`."""
        self._start()
        return (self._threads.submit if self._threads else _run_now)(task, *arguments)

    def prepare(self, record: Record, key: tuple[int, ...], turned: bool = False) -> Sample:
        """Decode and transform a record, in a process if there are any; see `prepare`."""
        if self._processes is None:
            return prepare(record, self._transforms, key, turned, self.options.rules)
        return self._processes.submit(_prepare_in_process, record, key, turned).result()

    def close(self) -> None:
        """Stop the workers; the next task starts new ones."""
        for pool in (self._threads, self._processes):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
        self._threads = self._processes = None

    def _start(self) -> None:
        count = self.options.count
        if self._threads is not None or not count:
            return
        # Images are the unit of parallel work here; OpenCV's own threads inside each of them would only compete.
        cv2.setNumThreads(1)
        if self.options.use_processes:
            # Not fork: MindSpore's threads are running by now.
            self._processes = ProcessPoolExecutor(
                count, get_context("spawn"), initializer=_start_process, initargs=(self._transforms, self.options.rules)
            )
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="loader")


def prepare(
    record: Record,
    transforms: Sequence[Transform],
    key: tuple[int, ...],
    turned: bool = False,
    rules: ImageRules = USUAL_RULES,
) -> Sample:
    """Decode and transform one record.

    Args:
        record: of the image.
        transforms: applied in their order.
        key: (seed, epoch, index), the seed of their generator.
        turned: whether the frame is turned for this image.
        rules: which images are taken.

    Raises:
        ImageError: it cannot be read.
    """
    return apply_transforms(read_sample(record, turned, rules), transforms, np.random.default_rng(key))


_process_transforms: list[Transform] = []
_process_rules: list[ImageRules] = []


def _start_process(transforms: list[Transform], rules: ImageRules) -> None:
    """Runs once in each worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it then closes the pool.
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _process_transforms[:] = transforms
    _process_rules[:] = [rules]


def _exit_with_parent() -> None:
    """A parent killed by SIGKILL cannot stop its workers, and they would wait for it forever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _prepare_in_process(record: Record, key: tuple[int, ...], turned: bool) -> Sample:
    return prepare(record, _process_transforms, key, turned, _process_rules[0])


def _run_now(task: Callable[..., object], *arguments: object) -> Future:
    """What a pool's `submit` does, without a pool: errors come out of `result()`."""
    future: Future = Future()
    try:
        future.set_result(task(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future
