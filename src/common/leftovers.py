"""Hidden files and folders in the making, and what becomes of them when their process is killed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.common.file_lock import take_lock

# Their names begin so. The process at work holds a lock on its own, by which others tell that it lives.
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
        claim(handle)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def remove_leftovers(parent: Path) -> None:
    """Remove the folders of `writing_folder`, and the files of `atomic_path`, in `parent` whose processes were killed.

    Those of living processes stay, and so do those of which it cannot be told (on a file system without locks, or
    another user's).
    """
    for leftover in parent.glob(f"{PREFIX}*"):
        try:
            handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if not claim(handle):
                continue
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
        finally:
            os.close(handle)


def claim(handle: int) -> bool:
    """Lock an open file or folder; False where another process has it, or there are no locks."""
    try:
        return take_lock(handle)
    except OSError:
        return False
