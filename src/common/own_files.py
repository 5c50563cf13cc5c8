"""Files and folders in places where other users can write: what they put there is not followed."""

import contextlib
import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path

from src.common.errors import UserError

ROOT_UID = 0


def open_own_folder(path: Path) -> int:
    """A descriptor of a folder of this user at `path`, which is made where there is nothing.

    Raises:
        UserError: something else is there: a symbolic link, a file, or a folder of another user.
        OSError: it cannot be made or opened.
    """
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o755)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        if path.is_symlink() or not path.is_dir():
            raise UserError(f"{path}: is a symbolic link or a file, not a folder of this program; remove it") from None
        raise error
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise UserError(f"{path}: is a folder of another user; remove it, or choose another place")
    return descriptor


def open_own_file(path: Path) -> int:
    """A descriptor, to read, of a file of this user at `path`.

    Raises:
        OSError: it is not there, is a symbolic link, belongs to another user, or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    if os.fstat(descriptor).st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "belongs to another user", str(path))
    return descriptor


def distrust(path: Path, owners: Collection[int]) -> str | None:
    """Why a file or folder should not be used: someone else may have written it; None: it may be used.

    Args:
        path: exists.
        owners: users beside this one and root who are trusted.
    """
    status = path.stat()
    if status.st_uid not in {ROOT_UID, os.geteuid(), *owners}:
        return f"{path} belongs to another user (uid {status.st_uid})"
    sticky_folder = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not sticky_folder:
        return f"{path} can be written by every user"
    return None
