"""Which steps are profiled, and what is told of them."""

import csv
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.engine import step_profile
from src.engine.step_profile import COMPILING_STEPS, ProfiledSteps, operator_times, profile_lines
from src.engine.steps import DoneStep
from src.weights.checkpoint import TrainingState
from tests.engine.test_trainer_start import trained


class FakeSteps:
    """Steps that do nothing."""

    closed = False

    def __init__(self, most: int) -> None:
        self.most = most

    def run(self, count: int) -> Iterator[DoneStep]:
        for _ in range(count):
            yield DoneStep([1.0], 0.1, [])

    def close(self) -> None:
        self.closed = True


class FakeProfiler:
    """Notes between which steps of the training it was at work."""

    def __init__(self, state: TrainingState) -> None:
        self.state, self.first, self.last, self.stepped = state, state.step, None, 0

    def step(self) -> None:
        self.stepped += 1

    def stop(self) -> None:
        assert self.last is None
        self.last = self.state.step


def profiled(
    monkeypatch: pytest.MonkeyPatch, wanted: int, per_epoch: int, epochs: int, together: int = 1, start: int = 0
) -> tuple[list[FakeProfiler], list[str]]:
    """The profilers of a training of so many epochs, resumed at a step, and the lines that were told."""
    state = TrainingState(epoch=start // per_epoch, step_in_epoch=start % per_epoch, step=start)
    profilers: list[FakeProfiler] = []
    lines: list[str] = []

    def begin(*_: object) -> FakeProfiler:
        profilers.append(FakeProfiler(state))
        return profilers[-1]

    monkeypatch.setattr(step_profile, "start_profiler", begin)
    taken = FakeSteps(together)
    steps = ProfiledSteps(taken, wanted, state, per_epoch, epochs - 1, "CPU", Path("none"), lines.append)
    assert steps.most == together
    while state.epoch < epochs:
        while state.step_in_epoch < per_epoch:
            for _ in steps.run(min(together, per_epoch - state.step_in_epoch)):
                state.step += 1
                state.step_in_epoch += 1
        state.epoch, state.step_in_epoch = state.epoch + 1, 0
    steps.close()
    assert taken.closed
    return profilers, lines


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"wanted": 4, "per_epoch": 20, "epochs": 2}, (3, 7)),
        ({"wanted": 4, "per_epoch": 6, "epochs": 2}, (6, 10)),  # not over the end of an epoch
        ({"wanted": 4, "per_epoch": 6, "epochs": 1}, (3, 6)),  # there is no other epoch
        ({"wanted": 40, "per_epoch": 6, "epochs": 3}, (6, 12)),  # an epoch has fewer
        ({"wanted": 4, "per_epoch": 20, "epochs": 2, "start": 7}, (10, 14)),  # a resumed training compiles, too
        ({"wanted": 4, "per_epoch": 20, "epochs": 2, "together": 5}, (5, 10)),  # whole sinks
    ],
    ids=str,
)
def test_steps_of_one_epoch_after_the_first_are_profiled_once(monkeypatch, options, expected) -> None:
    (profiler,), lines = profiled(monkeypatch, **options)
    assert (profiler.first, profiler.last) == expected
    together = options.get("together", 1)
    assert profiler.stepped == -(-(profiler.last - profiler.first) // together)
    assert lines[0].startswith(f"profile of {profiler.last - profiler.first} steps, ")


def test_a_training_that_ends_while_it_compiles_says_so(monkeypatch) -> None:
    profilers, lines = profiled(monkeypatch, wanted=4, per_epoch=COMPILING_STEPS, epochs=1)
    assert profilers == [] and "nothing was profiled" in lines[0]


@pytest.mark.parametrize(
    ("name", "header", "unit"),
    [
        ("FRAMEWORK/cpu_op_type_info_0.csv", ("op_type", "type_occurrences", "total_compute_time"), 1),
        ("ASCEND_PROFILER_OUTPUT/op_statistic.csv", ("OP Type", "Count", "Total Time(us)"), 1000),
    ],
)
def test_the_costliest_operators_come_first(tmp_path: Path, name: str, header: tuple, unit: int) -> None:
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        rows = [("ReLU", 2, 1.0 * unit), ("Conv2D", 8, 6.0 * unit), *((f"Op{i}", 1, 0.1 * unit) for i in range(20))]
        csv.writer(file).writerows([header, *rows])
    assert operator_times(tmp_path)[:2] == [("Conv2D", 8, 6.0), ("ReLU", 2, 1.0)]
    lines = list(profile_lines(tmp_path, 2, 10.0))
    assert lines[0] == f"profile of 2 steps, 5.0 ms each, in {tmp_path}"
    assert lines[2].split() == ["Conv2D", "4.0", "3.000", "66.7%"] and lines[-1].split()[:2] == ["10", "others"]


def test_processes_that_parse_without_end_are_ended() -> None:
    ours = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    ours.start()
    with step_profile.bounded_children(0.5):
        parser = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        parser.start()
        parser.join(20)
    assert parser.exitcode is not None and ours.is_alive()
    ours.kill()


def test_a_training_writes_mindspores_profile_and_its_table(tmp_path, monkeypatch, capfd) -> None:
    _, _, log = trained(tmp_path, monkeypatch, profile="2")
    assert list((tmp_path / "run/profile").glob("*/ASCEND_PROFILER_OUTPUT/trace_view.json"))
    assert "profile of 2 steps" in log and "calls/step" in log
    calls = {one.kind: one.calls for one in operator_times(tmp_path / "run/profile")}
    assert calls["MatMul"] == 4  # forward and backward
    assert "arsing" not in capfd.readouterr().out
