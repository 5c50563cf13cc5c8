"""Files appear whole or not at all."""

import os

import pytest

from src.common.atomic import atomic_path, check_writable
from src.common.errors import UserError
from tests.common.full_disk import file_size_limit


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


def test_a_full_disk_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("first")
    refused = pytest.raises(UserError, match=r"a\.txt: cannot write this file \(File too large\)")
    with file_size_limit(100), refused, atomic_path(path) as temporary:
        temporary.write_text("x" * 200)
    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_went_away(tmp_path):
    refused = pytest.raises(UserError, match=r"a\.txt: cannot write this file \(No such file")
    with refused, atomic_path(tmp_path / "run" / "a.txt") as temporary:
        temporary.unlink()
        temporary.parent.rmdir()


def test_errors_of_other_files_are_not_taken_for_the_disks(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "input" / "missing.txt").read_text()


def test_outputs_are_tried_before_the_work(tmp_path):
    check_writable(tmp_path / "new" / "a.json")
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "taken.json").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        check_writable(tmp_path / "taken.json")
    with pytest.raises(UserError, match="cannot write"):
        check_writable("/proc/a.json")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
