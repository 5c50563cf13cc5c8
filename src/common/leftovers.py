"""Hidden folders for files in the making, and what becomes of them when their process is killed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.common.file_lock import take_lock

# Their names begin so. The process at work holds a lock on its folder, by which others tell that it lives.
PREFIX = ".writing_"


@contextmanager
def writing_folder(parent: Path) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`, which is removed with what it has when the block ends.

    Those of killed processes go first, see `remove_leftovers`.
    """
    remove_leftovers(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    handle = os.open(folder, os.O_RDONLY)
    try:
        _is_mine(handle)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of `writing_folder` in `parent` whose processes were killed.

    That of a living process stays, and so does one of which it cannot be told (on a file system without locks, or
    another user's).
    """
    for leftover in parent.glob(f"{PREFIX}*"):
        try:
            handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue
        try:
            if _is_mine(handle):
                shutil.rmtree(leftover, ignore_errors=True)
        finally:
            os.close(handle)


def _is_mine(handle: int) -> bool:
    """Lock an open folder; False where another process has it, or there are no locks."""
    try:
        return take_lock(handle)
    except OSError:
        return False
