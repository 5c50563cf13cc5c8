"""Names of weights, `zoo:NAME`, which stand where a checkpoint's path does."""

from pathlib import Path

PREFIX = "zoo:"


def is_zoo_name(path: str | Path) -> bool:
    """Whether a path of a checkpoint is `zoo:NAME`."""
    return str(path).startswith(PREFIX)


def output_path(path: str | Path) -> Path:
    """A path of a checkpoint, for the names of files that are written beside it: `zoo:NAME` stands for ./NAME."""
    return Path(str(path).removeprefix(PREFIX))
