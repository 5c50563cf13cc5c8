"""Compiled graphs on disk: whole, used last, of bounded size, and never twice fatal."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from src.model_utils.graph_store import GraphStore

GRAPH = bytes(range(256)) * 40


def kept(store: GraphStore, key: str) -> bytes | None:
    with store.trial(key) as graph:
        return graph


def test_a_graph_comes_back_whole(tmp_path: Path):
    store = GraphStore(tmp_path)
    assert kept(store, "a") is None
    store.save("a", GRAPH)
    assert kept(GraphStore(tmp_path), "a") == GRAPH
    assert kept(store, "b") is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:10],
        lambda content: b"",
        lambda content: content[:-5] + b"x" + content[-4:],
        lambda content: b"[]\n" + content,
    ],
    ids=["shorter by a byte", "cut in its head", "empty", "a wrong byte", "a strange head"],
)
def test_a_damaged_graph_is_removed_and_told(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture):
    store = GraphStore(tmp_path)
    store.save("a", GRAPH)
    file = tmp_path / "a.graph"
    file.write_bytes(damage(file.read_bytes()))
    assert kept(store, "a") is None
    assert not file.exists()
    assert "damaged, is compiled anew" in caplog.text
    store.save("a", GRAPH)
    assert kept(store, "a") == GRAPH


def test_those_unused_for_longest_make_room(tmp_path: Path):
    store = GraphStore(tmp_path, limit=3 * len(GRAPH) + 1000)
    for age, key in enumerate("abc"):
        store.save(key, GRAPH)
        os.utime(tmp_path / f"{key}.graph", (1000 + age, 1000 + age))
    assert kept(store, "a") == GRAPH  # now the last one that was used
    store.save("d", GRAPH)
    assert [kept(store, key) is not None for key in "abcd"] == [True, False, True, True]


def test_a_graph_whose_user_died_is_not_offered_again(tmp_path: Path):
    GraphStore(tmp_path).save("a", GRAPH)
    program = (
        "import os, sys; from pathlib import Path; from src.model_utils.graph_store import GraphStore\n"
        "with GraphStore(Path(sys.argv[1])).trial('a') as graph: os._exit(0 if graph else 1)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == 0
    assert kept(GraphStore(tmp_path), "a") is None
    assert list(tmp_path.iterdir()) == []


def test_several_processes_may_use_a_graph_at_once(tmp_path: Path):
    store = GraphStore(tmp_path)
    store.save("a", GRAPH)
    (tmp_path / f"a.{socket.gethostname()}.{os.getppid()}.trial").touch()  # a process that lives
    (tmp_path / "a.elsewhere.1.trial").touch()  # another machine's
    with store.trial("a") as first, store.trial("a") as second:
        assert first == second == GRAPH


def test_an_error_while_a_graph_is_used_removes_it(tmp_path: Path):
    store = GraphStore(tmp_path)
    store.save("a", GRAPH)
    with pytest.raises(ValueError, match="bad"), store.trial("a"):
        raise ValueError("bad")
    assert kept(store, "a") is None


def test_a_link_is_not_followed(tmp_path: Path):
    elsewhere = GraphStore(tmp_path / "elsewhere")
    elsewhere.folder.mkdir()
    elsewhere.save("a", GRAPH)
    (tmp_path / "a.graph").symlink_to(elsewhere.folder / "a.graph")
    assert kept(GraphStore(tmp_path), "a") is None


def test_times_are_remembered(tmp_path: Path):
    store = GraphStore(tmp_path)
    assert store.seconds("step") is None
    store.remember_seconds("step", 31.46)
    assert store.seconds("step") == 31.5
    (tmp_path / "step.seconds").write_text("soon")
    assert store.seconds("step") is None


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").touch()
    store = GraphStore(tmp_path / "file")
    assert kept(store, "a") is None
    store.save("a", GRAPH)
    store.remember_seconds("a", 1.0)
    assert "not kept for the next start" in caplog.text
