"""MindSpore Lite for tests: the one that LITE_HOME names, or PyPI's wheel."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from src.common.private_folder import private_folder
from tests.conftest import USER_CACHE

PACKAGE = "mindspore-lite==2.0.0"  # the one that is a wheel; Python 3.7 is what its Python module wants, not its C++


def unpacked_lite(folder: Path) -> None:
    """Let `folder`/mindspore_lite be the package of the wheel; skips where it cannot be had."""
    folder.mkdir()
    home = Path(os.environ.get("LITE_HOME") or "/nowhere").resolve()
    if (home / "include/api/model.h").is_file():
        (folder / "mindspore_lite").symlink_to(home)
        return
    with ZipFile(downloaded_wheel()) as archive:
        archive.extractall(folder)


def downloaded_wheel(cache: Path = USER_CACHE / "mindspore_detection/mindspore_lite") -> Path:
    """The wheel, 169 MB, kept in a folder of the user's own cache, which tests else replace; whole or not there."""
    folder = private_folder(cache)
    if not (found := sorted(folder.glob("mindspore_lite-*.whl"))):
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            options = ["--python-version", "3.7", "--only-binary=:all:", "--no-deps", "--dest", fresh]
            command = [sys.executable, "-m", "pip", "download", "-q", *options, PACKAGE]
            finished = subprocess.run(command, capture_output=True, text=True, timeout=900)
            if finished.returncode != 0:
                pytest.skip(f"{PACKAGE} cannot be downloaded: {finished.stderr.strip().splitlines()[-1:]}")
            (wheel,) = Path(fresh).glob("mindspore_lite-*.whl")
            found = [wheel.rename(folder / wheel.name)]
    return found[0]
