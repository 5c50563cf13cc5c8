"""Work in a copy of the process: its end, its failures, and what stays behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from src.model_utils import process_copy
from src.model_utils.process_copy import run_in_copy

ROOT = Path(__file__).resolve().parents[2]


def test_the_copy_works_and_leaves_this_process_as_it_was(tmp_path: Path):
    values = [1]

    def work() -> bool:
        values.append(2)
        (tmp_path / "file").write_text(f"{os.getppid()} {values}")
        return True

    assert run_in_copy(work)
    assert (tmp_path / "file").read_text() == f"{os.getpid()} [1, 2]"
    assert values == [1]


def fails() -> bool:
    raise ValueError("no")


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that `os.fork` made; other tests' children live beside them."""
    numbers = []
    fork = os.fork

    def noted() -> int:
        number = fork()
        numbers.append(number)
        return number

    monkeypatch.setattr(os, "fork", noted)
    return numbers


@pytest.mark.parametrize("work", [lambda: False, fails, lambda: os.kill(os.getpid(), 9)])
def test_a_copy_that_fails_is_none(work, copies: list[int], capfd: pytest.CaptureFixture):
    assert not run_in_copy(work)
    assert capfd.readouterr() == ("", "")
    assert_none_is_left(copies)


def assert_none_is_left(copies: list[int]) -> None:
    (copy,) = copies
    with pytest.raises(ChildProcessError):
        os.waitpid(copy, os.WNOHANG)


def test_a_copy_that_waits_for_a_lock_of_this_process_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_copy, "STILL", 10)
    lock = threading.Lock()
    with lock:
        assert not run_in_copy(lambda: lock.acquire(timeout=60))


def test_a_copy_may_compute_for_longer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_copy, "STILL", 10)
    monkeypatch.setattr(process_copy, "PAUSE", 0.05)

    def compute() -> bool:
        end = time.process_time() + 1
        while time.process_time() < end:
            pass
        return True

    assert run_in_copy(compute)


def test_an_interrupt_from_the_terminal_is_this_process_matter():
    def work() -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    assert run_in_copy(work)


def stop() -> None:
    raise KeyboardInterrupt


def test_what_interrupts_this_process_ends_the_copy(copies: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process_copy, "_computed", lambda copy: stop())
    with pytest.raises(KeyboardInterrupt):
        run_in_copy(lambda: time.sleep(60) is None)
    assert_none_is_left(copies)


PROGRAM = """
import os, sys, time
from src.model_utils.process_copy import run_in_copy

run_in_copy(lambda: print(os.getpid(), flush=True) or time.sleep(60) is None)
"""


def test_the_copy_dies_with_this_process():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        copy = int(program.stdout.readline())
        program.kill()
    end = time.monotonic() + 10
    while _lives(copy):
        assert time.monotonic() < end
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
