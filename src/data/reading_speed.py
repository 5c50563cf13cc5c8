"""What makes reading millions of annotations quick."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic_core import from_json


def parse_json(text: bytes | str) -> Any:
    """JSON value of a text, several times faster than json.loads; raises what json.loads raises."""
    try:
        return from_json(text, cache_strings="keys")
    except ValueError:
        return json.loads(text)  # for its line and column, and for what only it accepts


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Millions of containers are made while reading, none of them garbage, and each collection would visit them all."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
