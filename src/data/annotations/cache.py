"""Parsed annotations in the user's cache: one process of a machine parses a file, all others map what it wrote."""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from src.common.array_file import ArrayFileError, map_arrays, write_arrays
from src.common.checksum import sha256_of
from src.common.errors import UserError
from src.common.once_per_machine import once_per_machine
from src.common.private_folder import user_cache
from src.data import masks, reader_checks
from src.data.annotations.columns import AnnotationColumns

CACHED_FROM = 16 * 2**20  # bytes of an annotation file; a smaller one is parsed within a third of a second
MOST_FILES = 8  # in the cache; those that were not used for longest go
UNCACHED = "parsed in every process and at every start"

logger = logging.getLogger(__name__)


def cached_columns(path: Path, make: Callable[[], AnnotationColumns]) -> AnnotationColumns:
    """The columns of an annotation file, from the cache where it is large.

    What is cached is found by a checksum of the file's content, so that another content is never taken for it, and of
    the code that parses. A cache that cannot be used is warned of, and costs nothing but the time.

    Args:
        path: the annotation file.
        make: parses it.

    Raises:
        OSError: the file cannot be read.
        UserError: what `make` raises, here or in the process that parsed.
    """
    if path.stat().st_size < CACHED_FROM:
        return make()
    key = f"{sha256_of(path)[:32]}-{_code_version()}"
    try:
        file = user_cache("annotations") / f"{key}.arrays"
    except UserError as error:
        logger.warning(f"{path}: {UNCACHED}, since there is no cache: {error}")
        return make()
    return _load(file) or _parse_once(path, file, make)


def _parse_once(path: Path, file: Path, make: Callable[[], AnnotationColumns]) -> AnnotationColumns:
    made: list[AnnotationColumns] = []

    def parse() -> None:
        if not file.exists():
            made.append(make())
            _store(path, file, made[0])

    with once_per_machine(file, f"annotations {file.stem}", parse):
        pass
    return _load(file) or (made[0] if made else make())


def _load(file: Path) -> AnnotationColumns | None:
    """What a file of the cache holds; None where there is none, or it is damaged (then it is removed)."""
    try:
        columns = AnnotationColumns.from_arrays(*map_arrays(file))
    except FileNotFoundError:
        return None
    except (ArrayFileError, KeyError) as error:
        logger.warning(f"{file}: {error}; the annotations are parsed again")
        _remove(file)
        return None
    with suppress(OSError):  # the disk is read-only by now, or another process removed the file
        os.utime(file)  # those that were not used for longest are removed first
    return columns


def _store(path: Path, file: Path, columns: AnnotationColumns) -> None:
    try:
        write_arrays(file, *columns.to_arrays())
        there = sorted(file.parent.glob(f"*{file.suffix}"), key=lambda one: one.stat().st_mtime, reverse=True)
    except (OSError, UserError) as error:
        logger.warning(f"{path}: {UNCACHED}, since the cache cannot be written: {error}")
        return
    for old in there[MOST_FILES:]:
        _remove(old)


def _remove(file: Path) -> None:
    """Remove a file of the cache, and what `once_per_machine` left beside it."""
    try:
        for end in ("", ".lock", ".done.json"):
            file.with_name(file.name + end).unlink(missing_ok=True)
    except OSError as error:
        logger.warning(f"{file}: cannot be removed ({error.strerror})")


@cache
def _code_version() -> str:
    """Changes with the code that decides what columns hold."""
    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(masks.__file__), Path(reader_checks.__file__)]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:8]
