"""Work in a copy of the process: its end, its failures, and what stays behind."""

import os
import threading
import time
from pathlib import Path

import pytest

from src.model_utils import process_copy
from src.model_utils.process_copy import run_in_copy


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


@pytest.mark.parametrize("work", [lambda: False, fails, lambda: os.kill(os.getpid(), 9)])
def test_a_copy_that_fails_is_none(work, capfd: pytest.CaptureFixture):
    assert not run_in_copy(work)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # none is left


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
