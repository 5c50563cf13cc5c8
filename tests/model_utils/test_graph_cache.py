"""Graphs of an earlier start are taken for the right cells, in any order, and only while they are whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.model_utils.graph_cache import active_graph_cache, close_graph_cache, open_graph_cache
from src.model_utils.graph_store import GraphStore
from src.schema import Config
from tests.conftest import ROOT

FIRST, SECOND = "first (1, 3) {} 10.0 10.0 12.0", "second (1, 3) {} 50.0 50.0 60.0"
WIDE, PLAIN = "wide (2, 3) {} 10.0 10.0 12.0", "plain (1, 3) 0.0 0.0"


def program(folder: Path, *names: str) -> list[str]:
    command = [sys.executable, "-m", "tests.model_utils.graph_cache_program", str(folder), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_graph_finds_its_cell_in_any_order(tmp_path: Path):
    """MindSpore's own cache gives the first graph of a start the first file, whatever it is."""
    cold = program(tmp_path, "first", "plain", "second", "wide")
    assert cold == [FIRST.format(False), PLAIN, SECOND.format(False), WIDE.format(False)]
    assert len(list(tmp_path.glob("*.graph"))) == 3
    warm = program(tmp_path, "wide", "second", "plain", "first")
    assert warm == [WIDE.format(True), SECOND.format(True), PLAIN, FIRST.format(True)]
    assert {path.suffix for path in tmp_path.iterdir()} == {".graph", ".seconds"}  # and no folder of a process

    # A damaged graph is compiled anew, and whole at the next start.
    damaged, *_ = tmp_path.glob("*.graph")
    content = damaged.read_bytes()
    damaged.write_bytes(content[: len(content) // 2])
    lines = program(tmp_path, "first", "second", "wide")
    assert sorted("False" in line for line in lines) == [False, False, True]
    assert [line.replace("False", "{}").replace("True", "{}") for line in lines] == [FIRST, SECOND, WIDE]
    assert len(damaged.read_bytes()) > len(content) // 2


def opened(target: str = "CPU", world: int = 1, **keys: object) -> GraphStore | None:
    """The store of a process that runs so."""
    open_graph_cache(Config(coco_classes=["background", "any"], **keys), target, 0, world)
    return active_graph_cache().store


def test_graphs_are_kept_by_one_process_on_the_cpu_in_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = opened().folder
    assert folder == tmp_path / "mindspore_detection/graphs"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert opened(compile_cache=str(tmp_path / "own")).folder == tmp_path / "own"
    for off in (opened(compile_cache=0), opened("GPU"), opened(world=2), opened(mode="pynative")):
        assert off is None

    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(UserError, match="is a link or a file, where a folder of your own is needed"):
        opened(compile_cache=str(tmp_path / "link"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert opened() is None
    assert "compiled graphs are not kept for the next start" in caplog.text
    close_graph_cache()
    assert active_graph_cache() is None
