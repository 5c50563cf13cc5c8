"""Collects what C libraries write to stderr in the calling thread."""

import ctypes
from functools import cache
from pathlib import Path
from types import TracebackType

TARGET = "CPU decoder messages"
MOST_BYTES = 1024


class DecoderMessages:
    """A block in which this thread's messages to C's stderr are collected; other threads' go where they always go.

    Args:
        library: the compiled library, as `kernel_library` finds it for TARGET.

    Attributes:
        text: what was written, once the block has ended.
    """

    def __init__(self, library: Path) -> None:
        self._library = _loaded(library)
        self.text = ""

    def __enter__(self) -> "DecoderMessages":
        self._library.decoder_messages_begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        text = ctypes.create_string_buffer(MOST_BYTES)
        self._library.decoder_messages_end(text, MOST_BYTES)
        self.text = text.value.decode("utf-8", "replace").strip()


@cache
def _loaded(library: Path) -> ctypes.PyDLL:
    # PyDLL keeps the interpreter's lock: the two calls take less time than giving it away.
    return ctypes.PyDLL(str(library))
