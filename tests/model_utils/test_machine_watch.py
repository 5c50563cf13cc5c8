"""What the machines of a training tell each other, with a socket in place of the other machine."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = "import src.model_utils.machine_watch as watch; watch.SILENCE = 1.5; watch.BEAT = 0.2; watch.main()"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def watch(port: int, tmp_path: Path) -> Iterator[subprocess.Popen]:
    """The watch of machine 0."""
    command = [sys.executable, "-B", "-c", PROGRAM, "127.0.0.1", str(port), "0", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 60
    while True:
        machine = socket.socket()
        if machine.connect_ex(("127.0.0.1", port)) == 0:
            machine.settimeout(60)
            return machine
        machine.close()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def joined(port: int, watch: subprocess.Popen, hello: bytes = b"1 node-b\n") -> socket.socket:
    """A connection of machine 1."""
    machine = connect(port)
    machine.sendall(hello)
    assert watch.stdout.readline() == "machine 1 (node-b) has joined\n"
    return machine


def failed(folder: Path) -> str:
    """The note that the watch makes."""
    deadline = time.monotonic() + 60
    while not (folder / "failed").exists() or not (folder / "failed").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return (folder / "failed").read_text()


@pytest.mark.parametrize(
    ("words", "closes", "note"),
    [
        (b"", True, "1 machine 1 (node-b) no longer answers\n"),
        (b"", False, "1 machine 1 (node-b) no longer answers\n"),  # of a pulled cable nothing is heard
        (b"137 rank", True, "1 machine 1 (node-b) no longer answers\n"),
        (b"137 rank 1 was ended by SIGKILL\n", True, "137 machine 1 (node-b): rank 1 was ended by SIGKILL\n"),
    ],
)
def test_a_lost_machine_is_noted(words, closes, note, port, watch, tmp_path):
    with joined(port, watch) as machine:
        machine.sendall(words)
        if closes:
            machine.close()
        assert failed(tmp_path) == note


def test_one_that_has_ended_is_not_lost_and_hears_how_this_one_ends(port, watch, tmp_path):
    with connect(port) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\n")
    done, living = joined(port, watch), joined(port, watch)
    done.sendall(b"\n0 msrun ended with exit code 0\n")
    done.shutdown(socket.SHUT_WR)
    for _ in range(10):
        living.sendall(b"\n")
        time.sleep(0.2)
    assert not (tmp_path / "failed").exists()
    (tmp_path / "ending").write_text("2 rank 0 ended with exit code 2\n")
    watch.terminate()
    heard = living.makefile().read().splitlines()
    assert (heard[0].split()[0], heard[1], heard[-1]) == ("0", "", "2 rank 0 ended with exit code 2")
    assert watch.wait(60) == 0
