"""Functions in a process without MindSpore: what reaches them, and what comes back."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from src.common.errors import UserError
from src.deploy.other_process import ROOT, call_without_mindspore
from tests.deploy import called_apart


def test_mindspore_is_not_there_and_protobuf_is_fast(monkeypatch):
    monkeypatch.setenv("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")  # as MindSpore sets it
    assert call_without_mindspore(called_apart.surroundings, "word") == ("word", False, "upb")


def test_items_are_sent_as_they_are_made():
    """A list of them would not fit in memory."""
    seen: list[int] = []

    def items() -> Iterator[bytes]:
        for number in range(1000):
            seen.append(number)
            yield bytes(100_000)

    assert call_without_mindspore(called_apart.first_of, 3, stream=items()) == [100_000] * 3
    assert 3 <= len(seen) < 100


def test_a_mistake_is_the_same_line():
    with pytest.raises(UserError, match=r"^a\.onnx: not like this$"):
        call_without_mindspore(called_apart.refuse, "a.onnx: not like this", stream=[1, 2])


def test_a_process_that_is_killed():
    with pytest.raises(UserError, match="the process that converts the file ended with exit code -9"):
        call_without_mindspore(os.kill, 0, signal.SIGKILL)


@pytest.mark.parametrize("to_group", [False, True])
def test_ctrl_c_ends_both(tmp_path, to_group):
    """Whether the terminal interrupts all processes of the program, or somebody this one."""
    code = (
        "import sys; from src.deploy.other_process import call_without_mindspore as call; from tests.deploy import "
        "called_apart; call(called_apart.write_number_and_wait, sys.argv[1])"
    )
    path = tmp_path / "number"
    os.mkfifo(path)
    words = [sys.executable, "-c", code, str(path)]
    program = subprocess.Popen(words, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    number = int(path.read_text())
    (os.killpg if to_group else os.kill)(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=30)
    assert errors.count("Traceback") == 1 and errors.strip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)
