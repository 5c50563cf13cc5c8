"""Files that are either complete or absent, and one line where the system refuses them."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.common.errors import UserError
from src.common.leftovers import PREFIX, claim

# What a disk says when it is full, broken, beyond a quota or a limit, or may not be written.
REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, None})


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn the system's refusal to write `path`, within the block, into one line.

    Raises:
        UserError: the disk is full, read-only or broken, or the folder has gone. Other errors pass as they are.
    """
    path = Path(path)
    try:
        yield
    except OSError as error:
        names = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        # Errors without a number come from image writers, whose disk was full.
        if any(_belongs_to(name, path) for name in names) or (error.errno in REFUSALS and not names):
            raise UserError(f"{path}: cannot write this file ({error.strerror or error})") from error
        raise


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces `path` once the block has ended without an exception.

    Missing folders are made. The temporary file keeps the suffix, from which some writers read the format.

    Raises:
        UserError: the file cannot be written there.
    """
    path = Path(path)
    with writing(path), _temporary_beside(path) as temporary:
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)  # mkstemp makes it private
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Find out, before work that ends in `path`, whether this file could be written now.

    Raises:
        UserError: it could not.
    """
    path = Path(path)
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with _temporary_beside(path) as temporary:
            temporary.unlink()


def _belongs_to(name: Path, path: Path) -> bool:
    """Whether `name` is `path`, one of its folders, or a hidden file or folder in which it is made."""
    if name == path or name in path.parents:
        return True
    return path.parent in name.parents and name.relative_to(path.parent).parts[0].startswith(".")


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A new hidden file, claimed for as long as the block lasts, see `src.common.leftovers`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{PREFIX}{path.stem}.", suffix=path.suffix, dir=path.parent)
    try:
        claim(handle)
        yield Path(name)
    finally:
        os.close(handle)
