"""What other users put into shared places is not followed."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from src.common import own_files
from src.common.errors import UserError
from src.common.once_per_machine import once_per_machine
from src.common.own_files import distrust, open_own_folder
from src.data.mindrecord.publishing import PartialFolder
from src.ops import kernel_library as kernels

STRANGER = 54321


@pytest.fixture
def others(tmp_path):
    """Another user's folder with a precious file."""
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    return folder


def test_a_link_in_place_of_the_partial_folder_is_refused(tmp_path, others):
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / ".x.mindrecord.partial").symlink_to(others)
    with pytest.raises(UserError, match=r"\.x\.mindrecord\.partial: is a symbolic link"):
        PartialFolder(shared, "x.mindrecord").__enter__()
    assert (others / "precious").read_text() == "precious"


def test_a_partial_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / ".x.mindrecord.partial").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    with pytest.raises(UserError, match="is a folder of another user"):
        PartialFolder(tmp_path, "x.mindrecord").__enter__()


def test_a_folder_is_made_or_taken(tmp_path):
    for _ in range(2):
        os.close(open_own_folder(tmp_path / "new"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="a symbolic link or a file"):
        open_own_folder(tmp_path / "file")


def test_a_plan_names_files_of_its_data_set_only(tmp_path, others):
    partial = tmp_path / ".x.mindrecord.partial"
    partial.mkdir()
    (partial / "replacing.json").write_text('["../others/precious", "others/precious", 5, "x.mindrecord0"]')
    (tmp_path / "x.mindrecord0").write_text("")
    with PartialFolder(tmp_path, "x.mindrecord"):
        pass
    assert (others / "precious").exists() and not (tmp_path / "x.mindrecord0").exists()
    partial.mkdir()
    (partial / "replacing.json").write_text("{")
    with PartialFolder(tmp_path, "x.mindrecord"):
        pass


def test_locks_and_notes_that_are_links_are_not_followed(tmp_path, others):
    (tmp_path / "data.lock").symlink_to(others / "made")
    with pytest.raises(UserError, match="cannot be written"), once_per_machine(tmp_path / "data", "x", lambda: None):
        pass
    assert not (others / "made").exists()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An own cache of kernels, with the CPU's RoIAlign as this machine's compiler would name it."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv(kernels.CACHE_VARIABLE, str(folder))
    kernels._warned.cache_clear()
    name = f"{kernels.SOURCES['CPU'].stem}_cpu_{kernels._hash_of_source('CPU')}"
    path = folder / f"{name}_{kernels._hash_of_compiler('CPU', kernels.find_compiler('CPU'))}.so"
    path.write_bytes(b"somebody's code")
    return path


def built_instead(path: Path, monkeypatch) -> bool:
    """Whether the library at `path` is compiled anew rather than taken."""
    compiled = []
    monkeypatch.setattr(kernels, "_compile", lambda target, compiler, output: compiled.append(output))
    try:
        kernels._library.__wrapped__("CPU")
    except UserError:
        return True
    return bool(compiled)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
def test_kernels_of_other_users_are_not_loaded(cache, monkeypatch, caplog):
    assert not built_instead(cache, monkeypatch)
    cache.chmod(0o777)
    assert built_instead(cache, monkeypatch) and "can be written by every user" in caplog.text
    cache.chmod(0o755)
    cache.parent.chmod(0o777)
    assert built_instead(cache, monkeypatch)


def test_who_is_trusted(tmp_path, monkeypatch):
    path = tmp_path / "a.so"
    path.write_text("")
    assert distrust(path, ()) is None
    monkeypatch.setattr(own_files, "ROOT_UID", STRANGER)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    owner = path.stat().st_uid
    assert "belongs to another user" in str(distrust(path, ()))
    assert distrust(path, (owner,)) is None
    tmp_path.chmod(0o777 | stat.S_ISVTX)  # as /tmp: nobody replaces the files of others
    assert distrust(tmp_path, (owner,)) is None
