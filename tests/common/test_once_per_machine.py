"""One of several processes does the work; the others wait, and none waits for a process that is gone.

Threads stand in for processes: the lock belongs to whoever opened the file.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from src.common import once_per_machine as module
from src.common.errors import UserError
from src.common.once_per_machine import once_per_machine, remove_traces

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache/data"


def take_part(folder: Path, work: Callable[[], None], report: Path, stay: float = 0.0) -> None:
    """What a process of a run does; notes what it found in the folder, or the error, in `report`."""
    try:
        with once_per_machine(folder, "obs://bucket/data", work):
            text = (folder / "file").read_text()
            time.sleep(stay)
        report.write_text(text)
    except UserError as error:
        report.write_text(f"error: {error}")


def start(number: int, folder: Path, work: Callable[[], None], reports: Path, stay: float = 0.0) -> list:
    reports.mkdir(exist_ok=True)
    started = []
    for i in range(number):
        process = threading.Thread(target=take_part, args=(folder, work, reports / str(i), stay), daemon=True)
        process.start()
        started.append(process)
    return started


def join(processes: list) -> None:
    for process in processes:
        process.join(20)
        assert not process.is_alive(), "still waiting"


def filled(folder: Path, log: Path, seconds: float = 0.2) -> None:
    """Work that takes a while and is logged."""
    with log.open("a") as file:
        file.write("done\n")
    time.sleep(seconds)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_text("whole")


def times_done(log: Path) -> int:
    return len(log.read_text().splitlines())


def test_one_of_four_does_it(folder: Path, tmp_path: Path) -> None:
    log, reports = tmp_path / "log", tmp_path / "reports"
    join(start(4, folder, lambda: filled(folder, log), reports, stay=0.5))
    assert times_done(log) == 1
    assert [(reports / str(i)).read_text() for i in range(4)] == ["whole"] * 4


def test_the_next_run_does_it_anew(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        join(start(2, folder, lambda: filled(folder, log), tmp_path / "reports", stay=0.2))
    assert times_done(log) == 2


def test_a_late_process_uses_what_is_there_while_others_use_it(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with once_per_machine(folder, "obs://bucket/data", lambda: filled(folder, log, 0)):
        join(start(2, folder, lambda: filled(folder, log, 0), tmp_path / "reports"))
    assert times_done(log) == 1
    assert (tmp_path / "reports/1").read_text() == "whole"


def test_a_failure_is_everyones(folder: Path, tmp_path: Path) -> None:
    log, reports = tmp_path / "log", tmp_path / "reports"

    def fail() -> None:
        with log.open("a") as file:
            file.write("x\n")
        time.sleep(0.5)
        raise UserError("obs://bucket/data: no such bucket")

    join(start(3, folder, fail, reports))
    assert times_done(log) == 1
    assert [(reports / str(i)).read_text() for i in range(3)] == ["error: obs://bucket/data: no such bucket"] * 3


def test_after_a_failure_the_next_run_tries_again(folder: Path, tmp_path: Path) -> None:
    def fail() -> None:
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"), once_per_machine(folder, "obs://bucket/data", fail):
        pass
    with once_per_machine(folder, "obs://bucket/data", lambda: filled(folder, tmp_path / "log", 0)):
        assert (folder / "file").read_text() == "whole"


def test_nobody_waits_for_a_killed_process(folder: Path, tmp_path: Path) -> None:
    log, reports = tmp_path / "log", tmp_path / "reports"
    code = f"""
import pathlib, time
from src.common.once_per_machine import once_per_machine

def hang():
    print("begun", flush=True)
    time.sleep(60)

with once_per_machine(pathlib.Path({str(folder)!r}), "obs://bucket/data", hang):
    pass
"""
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert killed.stdout.readline() == "begun\n"
    waiting = start(2, folder, lambda: filled(folder, log), reports, stay=0.3)
    time.sleep(0.2)
    assert all(process.is_alive() for process in waiting)
    killed.kill()
    killed.communicate()
    join(waiting)
    assert times_done(log) == 1
    assert [(reports / str(i)).read_text() for i in range(2)] == ["whole"] * 2


def test_files_of_a_dead_run_hinder_nobody(folder: Path, tmp_path: Path) -> None:
    folder.parent.mkdir()
    (folder.parent / "data.lock").write_text("12345")
    (folder.parent / "data.done.json").write_text("{half")
    with once_per_machine(folder, "obs://bucket/data", lambda: filled(folder, tmp_path / "log", 0)):
        assert (folder / "file").read_text() == "whole"


def test_traces_go_once_nobody_is_at_it(folder: Path, tmp_path: Path) -> None:
    with once_per_machine(folder, "obs://bucket/data", lambda: filled(folder, tmp_path / "log", 0)):
        remove_traces(folder)
        assert (folder.parent / "data.lock").exists()
    remove_traces(folder)
    remove_traces(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["data"]


def test_a_process_that_waits_while_the_traces_go_has_its_turn_alone(folder: Path, tmp_path: Path) -> None:
    """It opens the lock file for each look, since one that was removed meanwhile would exclude nobody."""
    log, reports = tmp_path / "log", tmp_path / "reports"
    with once_per_machine(folder, "obs://bucket/data", lambda: filled(folder, log, 0)):
        (folder.parent / "data.done.json").unlink()  # so that others wait
        waiting = start(3, folder, lambda: filled(folder, log), reports, stay=0.3)
        time.sleep(0.1)
    remove_traces(folder)
    join(waiting)
    assert times_done(log) == 2
    assert [(reports / str(i)).read_text() for i in range(3)] == ["whole"] * 3


def test_a_folder_in_use_with_other_content_is_refused(folder: Path, tmp_path: Path) -> None:
    refused = pytest.raises(UserError, match="obs://bucket/other: .* in use by another run, with obs://bucket/data")
    other = once_per_machine(folder, "obs://bucket/other", lambda: None)
    with once_per_machine(folder, "obs://bucket/data", lambda: filled(folder, tmp_path / "log", 0)), refused, other:
        pass
    with once_per_machine(folder, "obs://bucket/other", lambda: None):
        pass


def test_waiting_has_a_limit_and_says_so(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "NEWS_SECONDS", 0.1)
    begun, over = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        over.wait(20)

    def first() -> None:
        with once_per_machine(folder, "obs://bucket/data", work):
            pass

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(20)
    refused = pytest.raises(UserError, match="another process of this machine has been at it for too long")
    with refused, once_per_machine(folder, "obs://bucket/data", work, limit_seconds=0.3):
        pass
    over.set()
    thread.join(20)
    assert "waiting for another process of this machine: obs://bucket/data" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    refused = pytest.raises(UserError, match="cannot be written")
    with refused, once_per_machine(tmp_path / "cache/data", "obs://bucket/data", lambda: None):
        pass
