"""JSON, read quickly, with everything that can be wrong with it as one kind of exception."""

import json
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from src.common.errors import UserError


def read_json_file(
    path: str | Path,
    unreadable: str,
    invalid: str = "not valid JSON",
    not_text: str = "not a text file in UTF-8",
) -> Any:
    """JSON value of a file.

    Args:
        path: of the file.
        unreadable: what the message says where it cannot be read, `{}` for the reason.
        invalid: the same where it is not JSON; line, column and reason are added.
        not_text: the same where it is not UTF-8.

    Raises:
        UserError: one of the three.
    """
    try:
        return parse_json(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {unreadable.format(error.strerror or error)}") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}, column {error.colno}: {invalid} ({error.msg})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: {not_text}") from None


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
