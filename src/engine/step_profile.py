"""MindSpore's profile of a few training steps: a folder of files, and a table of the costliest operators."""

import csv
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from src.engine.steps import DoneStep, Steps
from src.weights.checkpoint import TrainingState

COMPILING_STEPS = 3  # first steps of a process, in which graphs are compiled and memory is found
SHOWN_OPERATORS = 12
PARSING_SECONDS = 600


class OperatorForm(NamedTuple):
    """A file of MindSpore's with the time of each kind of operator.

    Attributes:
        pattern: of its name.
        columns: kind, number of calls, total time.
        per_millisecond: units of time in a millisecond.
    """

    pattern: str
    columns: tuple[str, str, str]
    per_millisecond: float


OPERATOR_FORMS = (
    OperatorForm("op_statistic*.csv", ("OP Type", "Count", "Total Time(us)"), 1000.0),  # Ascend
    OperatorForm("gpu_op_type_info*.csv", ("op_type", "type_occurrences", "total_time(us)"), 1000.0),
    OperatorForm("cpu_op_type_info*.csv", ("op_type", "type_occurrences", "total_compute_time"), 1.0),
)


class OperatorTime(NamedTuple):
    """Calls of a kind of operator, and milliseconds in all of them together."""

    kind: str
    calls: int
    milliseconds: float


class ProfiledSteps:
    """Takes the steps of others, and profiles some of them once the first have compiled.

    The profile lies within one epoch, so that no evaluation is part of it: it begins where enough steps of the epoch
    are left, or with the first steps of an epoch that has fewer, and in the last epoch as soon as it can.

    Args:
        steps: that are taken.
        wanted: how many are profiled; those of a sink are profiled together.
        state: of the training, which counts the steps.
        steps_per_epoch: updates per epoch.
        last_epoch: its number, from 0.
        target: CPU, GPU or Ascend.
        folder: that the profile is written below.
        tell: takes each line of the table.
    """

    def __init__(
        self,
        steps: Steps,
        wanted: int,
        state: TrainingState,
        steps_per_epoch: int,
        last_epoch: int,
        target: str,
        folder: Path,
        tell: Callable[[str], None],
    ) -> None:
        self.steps, self.most = steps, steps.most
        self.wanted, self.state, self.steps_per_epoch, self.last_epoch = wanted, state, steps_per_epoch, last_epoch
        self.target, self.folder, self.tell = target, folder, tell
        self.taken, self.profiled, self.ended = 0, 0, False
        self.profiler: Any = None
        self.begun = 0.0

    def run(self, count: int) -> Iterator[DoneStep]:
        """See `Steps`."""
        if self._is_due():
            self._start()
        for done in self.steps.run(count):
            yield done
            self.taken += 1
        if self.profiler is None:
            return
        self.profiled += count
        self.profiler.step()
        if self.profiled >= self.wanted or self.state.step_in_epoch >= self.steps_per_epoch:
            self._stop()

    def close(self) -> None:
        """End the steps, and a profile that is not complete."""
        if self.profiler is not None and self.profiled:
            self._stop()
        elif not self.ended:
            self.tell(f"profile: nothing was profiled, the training ended within {COMPILING_STEPS} steps")
        self.steps.close()

    def _is_due(self) -> bool:
        if self.ended or self.profiler is not None or self.taken < COMPILING_STEPS:
            return False
        begins, last = self.state.step_in_epoch == 0, self.state.epoch >= self.last_epoch
        return begins or last or self.steps_per_epoch - self.state.step_in_epoch >= self.wanted

    def _start(self) -> None:
        self.profiler = start_profiler(self.target, self.folder, self.wanted)
        self.begun = time.perf_counter()

    def _stop(self) -> None:
        milliseconds = 1000 * (time.perf_counter() - self.begun)
        # The processes that parse the profile tell of their progress on standard output.
        with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), bounded_children(PARSING_SECONDS):
            self.profiler.stop()
        self.profiler, self.ended = None, True
        for line in profile_lines(self.folder, self.profiled, milliseconds):
            self.tell(line)


def start_profiler(target: str, folder: Path, most: int) -> Any:
    """MindSpore's profiler, at work.

    Args:
        target: CPU, GPU or Ascend.
        folder: that a folder for this profile is made in.
        most: times that `step` may be called before `stop`.
    """
    from mindspore.profiler import ProfilerActivity, profile, schedule, tensorboard_trace_handler

    activities = [ProfilerActivity.CPU]
    if target != "CPU":
        activities.append(ProfilerActivity.GPU if target == "GPU" else ProfilerActivity.NPU)
    # One more than is taken: the schedule would end the profile by itself with the last.
    plan = schedule(wait=0, warmup=0, active=most + 1, repeat=1, skip_first=0)
    handler = tensorboard_trace_handler(str(folder))
    profiler = profile(activities=activities, schedule=plan, on_trace_ready=handler, start_profile=False)
    profiler.start()
    return profiler


@contextmanager
def bounded_children(seconds: float) -> Iterator[None]:
    """Processes that are started meanwhile are ended after so many seconds: who waits for them goes on.

    MindSpore parses its profile in processes that it forks, and waits for them without limit. Forked from a program
    that has threads, as a training has, a process may never end.
    """
    before = set(multiprocessing.active_children())

    def end_new() -> None:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()

    timer = threading.Timer(seconds, end_new)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def operator_times(folder: Path) -> list[OperatorTime]:
    """What the newest file of operators below a folder says, the costliest first; empty where there is none."""
    for form in OPERATOR_FORMS:
        files = sorted(folder.rglob(form.pattern), key=lambda path: path.stat().st_mtime)
        if not files:
            continue
        kind, calls, total = form.columns
        with files[-1].open(newline="") as file:
            rows = list(csv.DictReader(file))
        times = [OperatorTime(row[kind], int(row[calls]), float(row[total]) / form.per_millisecond) for row in rows]
        return sorted(times, key=lambda one: one.milliseconds, reverse=True)
    return []


def profile_lines(folder: Path, steps: int, milliseconds: float) -> Iterator[str]:
    """Lines of the log about a profile of so many steps, which took so long in all."""
    times = operator_times(folder)
    known = sum(one.milliseconds for one in times)
    yield f"profile of {steps} steps, {milliseconds / steps:.1f} ms each, in {folder}"
    if not times:
        yield "profile: MindSpore wrote no table of operators"
        return
    shown, rest = times[:SHOWN_OPERATORS], times[SHOWN_OPERATORS:]
    if rest:
        shown.append(OperatorTime(f"{len(rest)} others", sum(r.calls for r in rest), sum(r.milliseconds for r in rest)))
    yield f"{'operator':28s} {'calls/step':>10s} {'ms/step':>10s} {'share':>6s}"
    for kind, calls, spent in shown:
        share = spent / known if known else 0.0
        yield f"{kind:28s} {calls / steps:10.1f} {spent / steps:10.3f} {share:6.1%}"
