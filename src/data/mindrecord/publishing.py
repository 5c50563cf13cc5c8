"""Files that appear in their folder together, the one that makes them valid last."""

import json
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.file_lock import take_lock
from src.common.own_files import open_own_folder
from src.data.mindrecord.manifest import INDEX_SUFFIX, Manifest, manifest_path, read_manifest, write_manifest

PLAN = "replacing.json"


class PartialFolder:
    """A hidden folder `.NAME.partial` beside the place of a data set, which is removed when the block ends.

    A process that is killed leaves it behind, and with it no manifest where none was complete; the next one clears
    what the killed one has left.

    Args:
        folder, name: mindrecord_dir and the prefix of the data set.

    Raises:
        UserError: the folder cannot be written, or another process is making this data set.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.path = folder / f".{name}.partial"
        self._any_file = re.compile(rf"{re.escape(name)}\d*({re.escape(INDEX_SUFFIX)})?")
        self._first_file = re.compile(rf"{re.escape(name)}0*({re.escape(INDEX_SUFFIX)})?")

    def __enter__(self) -> "PartialFolder":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = open_own_folder(self.path)
        except OSError as error:
            raise self._unwritable(error) from None
        self._lock_or_refuse()
        try:
            self._clear_leftovers()
            self._refuse_strangers(name for name in self._names() if self._first_file.fullmatch(name))
        except BaseException as error:
            self.__exit__()
            if isinstance(error, OSError):
                raise self._unwritable(error) from None
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def publish(self, manifest: Manifest) -> Path:
        """Move the files of `manifest` from here to their place and write it there; what was there before goes.

        Raises:
            UserError: files of another kind are in the way, or the folder cannot be written.
        """
        target = manifest_path(self.folder, self.name)
        new = [file.name for file in manifest.files]
        old = self._published()
        try:
            self._refuse_strangers(name for name in new if (self.folder / name).exists())
            with atomic_path(self.path / PLAN) as temporary:
                temporary.write_text(json.dumps(sorted({*old, *new})), encoding="utf-8")
            target.unlink(missing_ok=True)
            self._remove(set(old) - set(new))
            for name in new:
                (self.path / name).replace(self.folder / name)
        except OSError as error:
            raise self._unwritable(error) from None
        write_manifest(target, manifest)
        return target

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"{error.filename or self.folder}: cannot be written ({error.strerror or error})")

    def _lock_or_refuse(self) -> None:
        with suppress(OSError):  # a file system without locks
            if not take_lock(self._lock):
                raise UserError(f"{self.path}: another create_data.py is making this data set now")

    def _clear_leftovers(self) -> None:
        """Remove what a killed process left here, and what it was about to replace, which is no longer whole."""
        plan = self.path / PLAN
        if plan.is_file() and not manifest_path(self.folder, self.name).exists():
            self._remove(self._planned(plan))
        for leftover in self.path.iterdir():
            leftover.unlink()

    def _planned(self, plan: Path) -> list[str]:
        """Names of this data set's files in a plan; none where it is broken."""
        try:
            names = json.loads(plan.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []
        return [name for name in names if isinstance(name, str) and self._any_file.fullmatch(name)]

    def _refuse_strangers(self, names: Iterable[str]) -> None:
        known = self._published()
        for name in names:
            if name not in known:
                raise UserError(f"{self.folder / name} is in the way and of no complete data set; move it away")

    def _published(self) -> list[str]:
        """Names of the files of the data set that is there; those that are named like its files where it is broken."""
        target = manifest_path(self.folder, self.name)
        if not target.exists():
            return []
        try:
            return [file.name for file in read_manifest(target).files if self._any_file.fullmatch(file.name)]
        except UserError:
            return [name for name in self._names() if self._any_file.fullmatch(name)]

    def _names(self) -> list[str]:
        """Names of all that lies in the folder."""
        return [path.name for path in self.folder.iterdir()]

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)
