"""Advisory locks between processes, which the system frees when their holder ends, however it ends."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from src.common.errors import UserError

logger = logging.getLogger(__name__)


def take_lock(handle: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file or folder without waiting; False when another process holds a lock that excludes this one.

    Args:
        handle: its descriptor; closing it frees the lock.
        kind: LOCK_EX (alone) or LOCK_SH (with others of this kind).

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def sole_user(folder: Path, what: str) -> Iterator[None]:
    """Within the block no other process is in such a block for this folder. On file systems without locks: a warning.

    Args:
        folder: created when missing; a hidden file in it, which stays, carries the lock and says who holds it.
        what: what its user does, such as "training", for the message.

    Raises:
        UserError: another process is in such a block, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        if not _taken(handle, folder, what):
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "of this machine or another"
            raise UserError(
                f"{folder}: another {what} (process {holder}) is writing into this folder; "
                "wait for its end, or choose another folder"
            )
        yield
    finally:
        os.close(handle)


def _taken(handle: int, folder: Path, what: str) -> bool:
    try:
        if not take_lock(handle):
            return False
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        logger.warning(
            f"{folder} cannot be locked ({error.strerror}): nothing keeps another {what} from writing into it too"
        )
    return True
