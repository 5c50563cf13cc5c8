"""One process at a time writes into a folder."""

import errno
import fcntl
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.common.file_lock import sole_user

ROOT = Path(__file__).parents[2]


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "out/run"
    code = f"""
import pathlib, time
from src.common.file_lock import sole_user
with sole_user(pathlib.Path({str(folder)!r}), "training"):
    print("begun", flush=True)
    time.sleep(60)
"""
    first = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "begun\n"
    with pytest.raises(UserError) as refused, sole_user(folder, "training"):
        pass
    first.kill()
    first.communicate()
    assert str(refused.value).startswith(f"{folder}: another training (process {first.pid} on ")
    assert len(str(refused.value).splitlines()) == 1
    for _ in range(2):
        with sole_user(folder, "training"):
            pass


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    entered = []
    with caplog.at_level(logging.WARNING), sole_user(tmp_path, "training"):
        entered.append(True)
    assert entered
    assert f"{tmp_path} cannot be locked (No locks available): nothing keeps another training from" in caplog.text


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="out/run: cannot be written"), sole_user(tmp_path / "out/run", "training"):
        pass
