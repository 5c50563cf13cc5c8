"""Files appear whole or not at all."""

import os

import pytest

from src.common.atomic import atomic_path
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


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
