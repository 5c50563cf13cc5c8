"""Functions that run in a process of their own, without MindSpore.

Where MindSpore is loaded, protobuf is slow Python: the tools that change ONNX files take ten times as long.
"""

import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from src.common.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
OF_PROTOBUF = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"  # which MindSpore sets
END = None

Result = TypeVar("Result")


def call_without_mindspore(
    function: Callable[..., Result], *arguments: Any, stream: Iterable[Any] | None = None
) -> Result:
    """What a function returns in another process, which ends when this call does.

    Args:
        function: of a module, or a method of an object that pickle takes.
        arguments: its first ones, which pickle takes; paths are absolute.
        stream: items, sent while the function takes them from an iterator that is its last argument.

    Raises:
        UserError: the function's, or its process was ended.
    """
    environment = {name: value for name, value in os.environ.items() if name != OF_PROTOBUF}
    # In a session of its own Ctrl-C reaches this process alone, which then ends the other.
    process = subprocess.Popen(
        [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment,
        start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            assert process.stdin is not None and process.stdout is not None
            with suppress(BrokenPipeError), process.stdin as requests:
                pickle.dump((function, arguments, stream is not None), requests)
                for item in stream or ():
                    pickle.dump(item, requests)
                pickle.dump(END, requests)
            answer = process.stdout.read()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise UserError(f"the process that converts the file ended with exit code {process.returncode}")
    result, refusal = pickle.loads(answer)
    if refusal:
        raise UserError(refusal)
    return result


def _items(requests: BinaryIO) -> Iterator[Any]:
    while (item := pickle.load(requests)) is not END:
        yield item


def _answer() -> None:
    """Run the function that the standard input names; what it prints goes to the standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.disable(logging.WARNING)  # of tools
    requests = sys.stdin.buffer
    function, arguments, has_stream = pickle.load(requests)
    result, refusal = None, ""
    try:
        result = function(*arguments, *([_items(requests)] if has_stream else []))
    except UserError as error:
        refusal = str(error)
    with answers:
        pickle.dump((result, refusal), answers)


if __name__ == "__main__":
    _answer()
