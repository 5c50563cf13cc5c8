"""Work in a copy of this process, which takes with it the memory that the work leaves behind."""

import ctypes
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

PAUSE = 0.02  # seconds between looks at the copy
STILL = 1000  # looks at a copy that computes nothing, before it is given up
PR_SET_PDEATHSIG = 1  # of Linux: the signal at the parent's death


def run_in_copy(work: Callable[[], bool]) -> bool:
    """Whether `work` came to its end in a copy of this process, and returned True.

    The copy has this thread alone. Another thread may hold a lock of C++ when the copy is made, for which the work then
    waits forever: a copy that computes nothing for a while is killed. Signals to both leave the copy alone: what they
    end is this process, and with it the copy.
    """
    if not Path("/proc/self/stat").exists():
        return False
    copy = os.fork()
    if copy == 0:
        _work_and_die(work)
    try:
        code = _end_of(copy)
    except BaseException:
        _kill(copy)
        raise
    if code is None:
        _kill(copy)
    return code == 0


def _work_and_die(work: Callable[[], bool]) -> None:
    done = False
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        done = work()
    except Exception as error:
        logger.debug(f"in a copy of the process: {error}")  # what the process itself does next will say it
    finally:
        os._exit(0 if done else 1)


def _end_of(copy: int) -> int | None:
    """Exit code of the copy; None: it computes nothing any more."""
    computed, still = "", 0
    while still < STILL:
        try:
            pid, status = os.waitpid(copy, os.WNOHANG)
        except ChildProcessError:  # another part of the process waited for it, and has its code
            return 1
        if pid:
            return os.waitstatus_to_exitcode(status)
        now = _computed(copy)
        computed, still = now, still + 1 if now == computed else 0
        time.sleep(PAUSE)
    return None


def _kill(copy: int) -> None:
    os.kill(copy, signal.SIGKILL)
    os.waitpid(copy, 0)


def _computed(copy: int) -> str:
    """Processor time that the copy has used."""
    with suppress(OSError):
        return " ".join(Path(f"/proc/{copy}/stat").read_text().rpartition(")")[2].split()[11:13])
    return ""
