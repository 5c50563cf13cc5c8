"""JSON, read quickly, with everything that can be wrong with it as one kind of exception."""

import json
from typing import Any

from pydantic_core import from_json


def parse_json(text: bytes | str) -> Any:
    """JSON value of a text, several times faster than json.loads.

    Raises:
        json.JSONDecodeError: it is not JSON, nested too deeply, or holds a number of thousands of digits.
        UnicodeDecodeError: it is not UTF-8.
    """
    try:
        return from_json(text, cache_strings="keys")
    except ValueError:
        return _parse_slowly(text)


def _parse_slowly(text: bytes | str) -> Any:
    """What json.loads makes of it, for its line and column, and for what only it accepts."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except RecursionError:
        raise json.JSONDecodeError("nested too deeply", "", 0) from None
    except ValueError as error:  # more digits than Python reads
        raise json.JSONDecodeError(str(error), "", 0) from None
