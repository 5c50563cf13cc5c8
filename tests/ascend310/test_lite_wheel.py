"""The wheel of MindSpore Lite is downloaded once for all test sessions of a user."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.ascend310 import lite_wheel
from tests.conftest import ROOT

NAME = "mindspore_lite-2.0.0-cp37.whl"


def test_it_is_downloaded_once_and_whole(tmp_path, monkeypatch) -> None:
    calls: list[int] = []

    def pip(command: list[str], **options):
        """Writes the half of the file, and fails the first time."""
        calls.append(len(calls))
        Path(command[command.index("--dest") + 1], NAME).write_bytes(b"half" * len(calls))
        return SimpleNamespace(returncode=2 - len(calls), stderr="no network\n")

    monkeypatch.setattr(lite_wheel.subprocess, "run", pip)
    cache = tmp_path / "cache"
    with pytest.raises(pytest.skip.Exception, match="cannot be downloaded: .*no network"):
        lite_wheel.downloaded_wheel(cache)
    assert not list(cache.iterdir())
    for _ in range(2):
        assert lite_wheel.downloaded_wheel(cache) == cache / NAME
        assert (cache / NAME).read_bytes() == b"halfhalf" and [path.name for path in cache.iterdir()] == [NAME]
    assert calls == [0, 1]


def test_the_folder_is_the_users_own(tmp_path) -> None:
    """Not the one in a temporary folder that a session of tests gives its programs."""
    (tmp_path / "test_seen.py").write_text(
        "from tests.conftest import USER_CACHE, working_directory\n"
        "def test_seen(working_directory):\n"
        "    import os\n"
        "    assert str(USER_CACHE) != os.environ['XDG_CACHE_HOME']\n"
        "    print('seen', USER_CACHE)\n"
    )
    variables = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    variables["HOME"] = str(tmp_path)
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-s",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
        str(tmp_path),
    ]
    done = subprocess.run(words, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert f"seen {tmp_path}/.cache" in done.stdout, done.stdout
