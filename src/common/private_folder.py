"""Folders that hold what a process trusts later, which nobody else may put files into."""

import os
import stat
from pathlib import Path

from src.common.errors import UserError


def private_folder(path: Path) -> Path:
    """A folder of the user's own, made if need be, that only the user can read and write.

    Raises:
        UserError: it cannot be made, belongs to another user, or is a link or a file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise UserError(f"{path}: is a link or a file, where a folder of your own is needed; remove it")
        if found.st_uid != os.geteuid():
            raise UserError(f"{path}: belongs to another user; set XDG_CACHE_HOME to a folder of your own")
        if stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    return path


def user_cache(name: str) -> Path:
    """The private folder `name` in the user's cache: $XDG_CACHE_HOME, or ~/.cache. Raises UserError like the above."""
    try:
        path = user_cache_path(name)
    except RuntimeError as error:
        raise UserError(f"no home folder ({error}); set XDG_CACHE_HOME") from None
    return private_folder(path)


def user_cache_path(name: str) -> Path:
    """Where `name` stands in the user's cache, if it is there. Raises RuntimeError without a home folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mindspore_detection" / name
