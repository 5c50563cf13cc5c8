"""Folders that only their owner can use."""

from pathlib import Path

import pytest

from src.common.errors import UserError
from src.common.private_folder import private_folder, user_cache


def test_it_is_made_private_or_becomes_so(tmp_path):
    assert private_folder(tmp_path / "a/b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "a/b").chmod(0o777)
    assert private_folder(tmp_path / "a/b").stat().st_mode & 0o777 == 0o700


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "a").write_text("")
    for path in (tmp_path / "a", tmp_path / "a/b"):
        with pytest.raises(UserError, match=str(path)):
            private_folder(path)


def test_the_cache_of_a_user_without_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache("x") == tmp_path / "mindspore_detection/x"
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UserError, match="no home folder .*set XDG_CACHE_HOME"):
        user_cache("x")
