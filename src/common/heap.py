"""The memory that C's allocator keeps for later."""

import ctypes
from contextlib import suppress


def trim_heap() -> None:
    """Give back to the system what is free within the heap, where the C library can (glibc)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
