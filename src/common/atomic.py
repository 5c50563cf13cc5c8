"""Files that are either complete or absent."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.common.errors import UserError
from src.common.file_lock import take_lock

# Names of what is in the making begin so. Its process holds a lock on it, by which others tell that it lives.
PREFIX = ".writing_"


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` once the block has ended without an exception.

    Missing folders are made. The temporary file keeps the suffix, from which some writers read the format.

    Raises:
        UserError: the file cannot be written there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{PREFIX}{path.stem}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot write this file ({error.strerror})") from error
    temporary = Path(name)
    try:
        _is_mine(handle)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # mkstemp makes it private
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


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
    """Remove what `atomic_path` and `writing_folder` were making in `parent` when their processes were killed.

    What a living process makes stays, and so does what cannot be told (on a file system without locks, or another
    user's).
    """
    for leftover in parent.glob(f"{PREFIX}*"):
        try:
            handle = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            if _is_mine(handle):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        except OSError:
            continue
        finally:
            os.close(handle)


def _is_mine(handle: int) -> bool:
    """Lock an open file or folder; False where another process has it, or there are no locks."""
    try:
        return take_lock(handle)
    except OSError:
        return False
