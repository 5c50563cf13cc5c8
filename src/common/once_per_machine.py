"""Work that one process does for all processes of a machine; the others wait until it is done or has failed."""

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.file_lock import take_lock
from src.common.own_files import open_own_file

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
NEWS_SECONDS = 60.0  # between two lines that say what is waited for


@contextmanager
def once_per_machine(
    folder: Path, what: str, work: Callable[[], None], limit_seconds: float = 6 * 3600
) -> Iterator[None]:
    """Fill a folder once; within the block it is complete and no other process fills it again.

    The processes of a run agree through a lock file beside the folder, which the system frees when its holder dies: the
    next one then does the work. A holder's failure is every waiting process's failure. Once all have left, the work
    is done anew by the next run, so that nothing outdated is used.

    Args:
        folder: what is filled.
        what: names the content, such as its source; a process that wants other content in a folder in use is refused.
        work: fills the folder; called by one process while the others wait.
        limit_seconds: longest wait for another process.

    Raises:
        UserError: the work failed here or in the process that was waited for; it took too long; the folder is in use
            with other content, or cannot be written.
    """
    arrived = time.time()
    lock_path, note = _traces(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock, alone = _wait_for_turn(lock_path, note, what, arrived + limit_seconds)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        if alone:
            _work_unless_done(note, what, work, arrived)
            fcntl.flock(lock, fcntl.LOCK_SH)
        else:
            _check(note, what)
        yield
    finally:
        os.close(lock)  # frees it


def remove_traces(folder: Path) -> None:
    """Remove what `once_per_machine` left beside a folder that is filled, unless a process is at it now.

    A process that still waits for its turn then gets it: its work must see for itself that it is done.
    """
    lock_path, note = _traces(folder)
    with suppress(OSError):  # none there, a file system without locks, a folder that cannot be written
        lock = os.open(lock_path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if take_lock(lock) and _is_there(lock, lock_path):
                note.unlink(missing_ok=True)
                lock_path.unlink()
        finally:
            os.close(lock)


def _traces(folder: Path) -> tuple[Path, Path]:
    """The lock file of a folder, and the note on how the work ended."""
    return folder.with_name(f"{folder.name}.lock"), folder.with_name(f"{folder.name}.done.json")


def _wait_for_turn(lock_path: Path, note: Path, what: str, deadline: float) -> tuple[int, bool]:
    """The open lock file, and whether it is ours alone; else we share it with those that use the finished content."""
    news = time.time() + NEWS_SECONDS
    while True:
        turn = _try(lock_path, note)
        if turn is not None:
            return turn
        if time.time() > deadline:
            raise UserError(f"{what}: another process of this machine has been at it for too long; nothing was started")
        if time.time() > news:
            logger.info(f"waiting for another process of this machine: {what}")
            news = time.time() + NEWS_SECONDS
        time.sleep(POLL_SECONDS)


def _try(lock_path: Path, note: Path) -> tuple[int, bool] | None:
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    alone = take_lock(lock)
    # Shared without a note: the process at work died between the two attempts, and its turn is still free.
    if (alone or (take_lock(lock, fcntl.LOCK_SH) and note.exists())) and _is_there(lock, lock_path):
        return lock, alone
    os.close(lock)
    return None


def _is_there(lock: int, lock_path: Path) -> bool:
    """Whether an open lock file is still the one that others open, not one that was removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(lock), lock_path.stat())
    except OSError:
        return False


def _work_unless_done(note: Path, what: str, work: Callable[[], None], arrived: float) -> None:
    done = _read(note)
    if done.get("time", 0) >= arrived and done.get("what") == what:  # by a process that we waited for
        if done["error"]:
            raise UserError(done["error"])
        return
    note.unlink(missing_ok=True)  # a process that dies at work leaves no note
    try:
        work()
    except UserError as error:
        _write(note, what, str(error))
        raise
    _write(note, what, "")


def _check(note: Path, what: str) -> None:
    found = _read(note).get("what")
    if found != what:
        raise UserError(f"{what}: its folder is in use by another run, with {found}; choose another folder")


def _read(note: Path) -> dict:
    """What a note says; {} where it is broken, or not this user's."""
    try:
        with os.fdopen(open_own_file(note)) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(note: Path, what: str, error: str) -> None:
    with atomic_path(note) as temporary:
        temporary.write_text(json.dumps({"what": what, "time": time.time(), "error": error}))
