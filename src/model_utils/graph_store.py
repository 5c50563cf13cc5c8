"""Compiled graphs on disk, each under a key that says all it depends on."""

import hashlib
import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.own_files import open_own_file

logger = logging.getLogger(__name__)

LIMIT = 2**30  # bytes of all graphs together; one takes 0.5 to 20 MB
GRAPH, TIME, TRIAL = ".graph", ".seconds", ".trial"


class GraphStore:
    """Graphs in a folder, which several processes may use at once.

    A graph is one file, which appears complete or not at all: a line with the checksum of the rest, then the rest. One
    that is damaged is removed, and so is one whose last user died while MindSpore was reading it. Those that were not
    used for longest make room for new ones.

    Args:
        folder: of the user alone, see `src.common.private_folder`.
        limit: bytes of all graphs together.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder, self.limit = folder, limit

    @contextmanager
    def trial(self, key: str) -> Iterator[bytes | None]:
        """The graph of a key, None where there is none; a graph in whose block the process dies is not offered again.

        An exception in the block removes it, too.
        """
        graph = None if self._killed_its_user(key) else self._load(key)
        if graph is None:
            self.remove(key)
            yield None
            return
        mark = self._file(f"{key}.{socket.gethostname()}.{os.getpid()}", TRIAL)
        with suppress(OSError):  # a disk that is full or read-only now
            mark.touch()
        try:
            yield graph
        except Exception:
            self.remove(key)
            raise
        finally:
            _unlink(mark)

    def save(self, key: str, graph: bytes) -> None:
        """Keep a graph, and remove the oldest ones beyond the limit. A disk that refuses costs a warning."""
        head = json.dumps({"sha256": hashlib.sha256(graph).hexdigest()}) + "\n"
        try:
            with atomic_path(self._file(key, GRAPH)) as temporary:
                temporary.write_bytes(head.encode() + graph)
        except UserError as error:
            logger.warning(f"the compiled graph is not kept for the next start: {error}")
            return
        room = self.limit
        for file in sorted(self.folder.glob(f"*{GRAPH}"), key=_last_use, reverse=True):
            room -= _size(file)
            if room < 0:
                _unlink(file)

    def has(self, key: str) -> bool:
        """Whether there is a graph of a key; it may turn out damaged."""
        return self._file(key, GRAPH).exists()

    def remove(self, key: str) -> None:
        """Forget the graph of a key, if there is one."""
        _unlink(self._file(key, GRAPH))

    def seconds(self, name: str) -> float | None:
        """How long what is called `name` took to compile last time; None: not known."""
        with suppress(OSError, ValueError):
            return float(self._file(name, TIME).read_text())
        return None

    def remember_seconds(self, name: str, seconds: float) -> None:
        """Note how long it took."""
        with suppress(UserError), atomic_path(self._file(name, TIME)) as temporary:
            temporary.write_text(f"{seconds:.1f}")

    def _load(self, key: str) -> bytes | None:
        file = self._file(key, GRAPH)
        try:
            with os.fdopen(open_own_file(file), "rb") as opened:
                head, graph = opened.readline(), opened.read()
            intact = json.loads(head)["sha256"] == hashlib.sha256(graph).hexdigest()
        except OSError:
            return None
        except (ValueError, KeyError, TypeError):
            intact = False
        if not intact:
            logger.warning(f"{file}: damaged, is compiled anew")
            return None
        with suppress(OSError):
            os.utime(file)  # its last use
        return graph

    def _killed_its_user(self, key: str) -> bool:
        """Whether a process of this machine died in `trial`; its mark is removed."""
        dead = False
        for mark in self.folder.glob(f"{key}.{socket.gethostname()}.*{TRIAL}"):
            pid = mark.name.removesuffix(TRIAL).rpartition(".")[2]
            if not Path("/proc", pid).exists():
                dead = True
                _unlink(mark)
        return dead

    def _file(self, name: str, suffix: str) -> Path:
        return self.folder / f"{name}{suffix}"


def _last_use(file: Path) -> float:
    with suppress(OSError):
        return file.stat().st_mtime
    return 0.0


def _size(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


def _unlink(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)
