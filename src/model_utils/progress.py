"""Whether progress is shown as a bar."""

import sys


def wants_bar(mode: str) -> bool:
    """Whether a progress bar is wanted: mode is 'on', 'off', or 'auto' (when a person watches)."""
    return mode == "on" or (mode == "auto" and sys.stderr.isatty())
