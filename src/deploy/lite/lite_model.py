"""Networks that MindSpore Lite converted, run by it in a process of its own."""

import os
import subprocess
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from src.common.errors import UserError
from src.deploy.lite.programs import lite_program, require_lite


class LiteModel:
    """A .mindir or .ms file that MindSpore Lite's converter wrote, run by Lite on the CPU.

    Args:
        path: of the file.
        threads: of the CPU; 0: as many as this process has cores.

    Raises:
        UserError: Lite is not installed, or cannot load the file.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        lite = require_lite()
        self.path = path
        self.messages = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process that writes it
        threads = threads or len(os.sched_getaffinity(0))
        self.process = subprocess.Popen(
            [str(lite_program("predict", lite)), str(path), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            env=lite.environment(),
        )
        weakref.finalize(self, _end, self.process)
        if self._stream("stdout").readline() != b"ready\n":
            raise UserError(f"{path}: MindSpore Lite cannot load this file ({self._reason()})")

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs for float32 inputs, both in the file's order.

        Raises:
            UserError: Lite failed.
        """
        try:
            for value in inputs:
                array = np.ascontiguousarray(value, np.float32)
                self._stream("stdin").write(" ".join(map(str, array.shape)).encode() + b"\n" + array.tobytes())
            self._stream("stdin").flush()
            count = int(self._stream("stdout").readline())
            return [self._output() for _ in range(count)]
        except (BrokenPipeError, ValueError):
            raise UserError(f"{self.path}: MindSpore Lite could not run this file ({self._reason()})") from None

    def _output(self) -> np.ndarray:
        kind, *sides = self._stream("stdout").readline().decode().split()
        shape, dtype = tuple(map(int, sides)), np.dtype(kind)
        data = self._stream("stdout").read(int(np.prod(shape)) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape)

    def _stream(self, name: str) -> IO[bytes]:
        stream: IO[bytes] = getattr(self.process, name)
        return stream

    def _reason(self) -> str:
        _end(self.process)
        self.messages.seek(0)
        lines = self.messages.read().decode(errors="replace").strip().splitlines()
        own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return own[-1] if own else f"it ended with exit code {self.process.returncode}"


def _end(process: subprocess.Popen) -> None:
    """Let the program end, which it does with its input."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    process.wait()
