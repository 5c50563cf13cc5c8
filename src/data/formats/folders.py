"""Find the one folder or file of a split in what a user gives."""

from collections.abc import Iterator
from pathlib import Path

from src.common.errors import UserError

SPLIT_FOLDERS = {"train": ("train",), "val": ("validation", "val", "valid", "eval", "test")}


def split_places(path: Path, split: str) -> Iterator[Path]:
    """The path itself, then the folders in it that are named after the split ("train" or "val")."""
    yield path
    yield from (path / name for name in SPLIT_FOLDERS[split] if (path / name).is_dir())


def require_existing(path: Path, what: str) -> None:
    """Raise a UserError where there is nothing at `path`; `what` says what to give."""
    try:
        if path.exists():
            return
    except (OSError, ValueError):
        pass
    raise UserError(f"{path} does not exist; give {what}")
