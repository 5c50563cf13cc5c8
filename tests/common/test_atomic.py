"""Files appear whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.common.atomic import atomic_path, remove_leftovers, writing_folder
from src.common.errors import UserError


def test_replaces_only_after_success(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("first")
        assert not path.exists() and temporary.suffix == ".txt"
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o444 == 0o444 & ~_umask()


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="cannot write"), atomic_path(tmp_path / "taken" / "a.txt"):
        pass


def test_what_a_killed_process_was_writing_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    code = f"""
import pathlib, time
from src.common.atomic import atomic_path, writing_folder
folder = pathlib.Path({str(tmp_path)!r})
with writing_folder(folder) as made, atomic_path(folder / "curves.png"):
    (made / "weights.ckpt").write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""
    writer = subprocess.Popen(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout.readline() == "begun\n"
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 2
    (tmp_path / ".writing_before_locks").mkdir()
    (tmp_path / ".mine").touch()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".mine"}
    writer.kill()
    writer.communicate()
    with writing_folder(tmp_path) as made:  # the next one clears, too
        assert {path.name for path in tmp_path.iterdir()} == {made.name, ".mine"}
    assert [path.name for path in tmp_path.iterdir()] == [".mine"]


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
