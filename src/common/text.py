"""Values of others in messages of one line."""

from typing import Any

LONGEST = 80


def shortened(text: str, is_path: bool = False) -> str:
    """A text for a message, without line ends and cut off where it is long; of a path the end is kept."""
    if len(text) > LONGEST:
        text = f"...{text[-LONGEST:]}" if is_path else f"{text[:LONGEST]}..."
    return text.replace("\n", " ").replace("\r", " ")


def shown(value: Any) -> str:
    """A value for a message: its `repr`, cut off where it is long."""
    if isinstance(value, str | bytes):
        value = value[: LONGEST + 1]
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # a number of more digits than Python writes, or nested too deeply
        return f"a huge {type(value).__name__}"


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8: JSON, YAML and file names can hold halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
