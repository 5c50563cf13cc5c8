"""Runs faults and says what became of each."""

import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from src.common.errors import UserError

SECONDS = 5.0  # of the CPU
WAITED = 120.0  # seconds for something that never comes
MEGABYTES = 200
LONGEST_MESSAGE = 2000
CLEAN, HANDLED, TRACEBACK, SILENT, HANG, MEMORY = "clean error", "handled", "traceback", "silent", "hang", "memory"
GOOD = (CLEAN, HANDLED)


class SilentError(Exception):
    """The border took something for good that is not."""


class _Hanging(BaseException):
    pass


@dataclass(frozen=True)
class Border:
    """A place where files of others come in.

    Attributes:
        name: of the border.
        prepare: (folder) -> (damage of a generator, reader of the damaged file). The reader raises a UserError, or
            `SilentError` where what it returned cannot have come from a good file.
    """

    name: str
    prepare: Callable[[Path], "Case"]


@dataclass(frozen=True)
class Case:
    """One border with its files: `damage` writes a broken file, `read` reads it and checks what came out."""

    damage: Callable[[random.Random], None]
    read: Callable[[], None]
    restore: Callable[[], None] = lambda: None


@dataclass
class Outcome:
    """Counts by kind, and the first faults that were neither refused cleanly nor handled."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)


def run_border(border: Border, folder: Path, number: int, seed: int = 0, first: int = 0) -> Outcome:
    """Damage a border's file `number` times, each by a generator of its own, so that one can be repeated alone."""
    case = border.prepare(folder)
    outcome = Outcome()
    for index in range(first, first + number):
        case.damage(random.Random(f"{border.name} {seed} {index}"))
        kind, detail = classify(case.read)
        outcome.counts[kind] += 1
        if kind not in GOOD:
            outcome.bad.append(f"{border.name} {index}: {kind}: {detail}")
        case.restore()
    return outcome


def classify(read: Callable[[], None]) -> tuple[str, str]:
    """What became of reading a damaged file, and the message."""
    before = _reset_peak()
    try:
        with (
            _limited(signal.ITIMER_PROF, signal.SIGPROF, SECONDS),
            _limited(signal.ITIMER_REAL, signal.SIGALRM, WAITED),
        ):
            read()
        kind, detail = HANDLED, ""
    except UserError as error:
        detail = str(error)
        kind = CLEAN if "\n" not in detail and len(detail) <= LONGEST_MESSAGE else TRACEBACK
    except SilentError as error:
        kind, detail = SILENT, str(error)
    except _Hanging:
        kind, detail = HANG, f"over {SECONDS:g} s of the CPU, or {WAITED:g} s in all"
    except MemoryError as error:
        kind, detail = MEMORY, str(error)
    except BaseException as error:  # Rust panics are no Exceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        kind, detail = TRACEBACK, f"{type(error).__name__}: {error} ({_place(error)})"
    grown = _megabytes("VmHWM") - before
    return (MEMORY, f"{grown:.0f} MB") if kind in GOOD and grown > MEGABYTES else (kind, detail)


def _megabytes(name: str) -> float:
    """A number of /proc/self/status: VmHWM is the peak of the memory of this process, VmRSS what it has now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _reset_peak() -> float:
    """Let the peak begin anew, where the system allows it; returns where it begins."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _megabytes("VmHWM")


def _place(error: BaseException) -> str:
    """File and line of this project where an exception was raised."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "/src/" in name and "site-packages" not in name:
            place = f"{name.rpartition('/src/')[2]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


@contextmanager
def _limited(timer: int, number: int, seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise _Hanging

    before = signal.signal(number, stop)
    signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        signal.setitimer(timer, 0)
        signal.signal(number, before)
