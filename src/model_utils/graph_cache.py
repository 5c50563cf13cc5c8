"""Graphs that earlier starts compiled, handed to MindSpore one by one.

MindSpore's own compile cache numbers the graphs of a process, and gives the first graph of the next start the first
file, whatever that graph is; it notices changes only in files that the started script imports at its top. Here each
graph has a key made of all that it depends on. MindSpore's cache is switched on for one compilation at a time, in a
folder of this process where the graph of that key is the only file, or none.
"""

import atexit
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from src.common.errors import UserError
from src.common.leftovers import writing_folder
from src.common.private_folder import private_folder, user_cache
from src.model_utils.graph_key import surroundings
from src.model_utils.graph_store import GraphStore
from src.model_utils.process_copy import run_in_copy
from src.schema import Config

logger = logging.getLogger(__name__)

SWITCHES = {"MS_COMPILER_CACHE_ENABLE": "1", "MS_DEV_FORCE_USE_COMPILE_CACHE": "1"}
FOLDER_VARIABLE = "MS_COMPILER_CACHE_PATH"
FILE = "compile_cache_{}.mindir"


class Compilation:
    """What is known about a graph while it is compiled.

    Attributes:
        found: an earlier start compiled it.
        usable: to be set when it turned out well, and may be kept.
        taken: MindSpore took what was found; known after the block.
    """

    def __init__(self, found: bool) -> None:
        self.found, self.usable, self.taken = found, False, False


class GraphCache:
    """The graphs that this process compiles.

    Args:
        store: where they are kept; None: nowhere.
        surroundings: checksum of what they depend on beside their cells.
        name: of the experiment, for the times that compilations took.
        rank: of this process; the first one tells.
    """

    def __init__(self, store: GraphStore | None, surroundings: str = "", name: str = "", rank: int = 0) -> None:
        self.store, self.surroundings, self.name, self.rank = store, surroundings, name, rank
        self.copies_compile = True

    def compile_apart(self, key: str, work: Callable[[], None]) -> bool:
        """Have a copy of this process do `work`, which compiles the graph of `key` and keeps it, if none is kept.

        The compiler leaves its heap in pieces, of which MindSpore keeps a few everywhere: of a detector's training step
        0.2 to 0.8 GB that no later allocation fits into. A graph that is taken from the store leaves a fraction of it.

        Returns:
            Whether the graph is kept now, and was not before.
        """
        if self.store is None or not self.copies_compile or self.store.has(key):
            return False
        store = self.store
        _exchange(store.folder)  # before there is a copy, so that this process clears it away

        def keeps_the_graph() -> bool:
            work()
            return store.has(key)

        self.copies_compile = run_in_copy(keeps_the_graph)
        return self.copies_compile

    @contextmanager
    def compiling(self, key: str) -> Iterator[Compilation]:
        """Within the block MindSpore compiles one graph, or takes that of `key` where it is known."""
        if self.store is None:
            yield Compilation(found=False)
            return
        with self.store.trial(key) as graph, _exchange(self.store.folder).compiling(graph) as compiled:
            compilation = Compilation(found=graph is not None)
            yield compilation
        compilation.taken = compilation.found and not compiled
        if compiled and compilation.usable:
            self.store.save(key, compiled[-1])


class Exchange:
    """The folder that MindSpore reads and writes, in which there are files only while a graph is compiled.

    Args:
        folder: new; MindSpore asks for it at the first compilation and never again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "rank_0" / "graph_cache"
        self.next = 0  # MindSpore's number of the next graph; a wrong one finds nothing, which costs time alone

    @contextmanager
    def compiling(self, graph: bytes | None) -> Iterator[list[bytes]]:
        """MindSpore finds `graph` at its next compilation; after the block the list has what it compiled itself."""
        compiled: list[bytes] = []
        if graph is not None:
            self.files.mkdir(parents=True, exist_ok=True)
            self._file(self.next).write_bytes(graph)
        try:
            with _environment({**SWITCHES, FOLDER_VARIABLE: str(self.folder)}):
                yield compiled
            compiled.extend(self._written(offered=graph is not None))
        finally:
            shutil.rmtree(self.files, ignore_errors=True)

    def _written(self, offered: bool) -> Iterator[bytes]:
        numbers = {int(path.stem.rpartition("_")[2]) for path in self.files.glob(FILE.format("*"))}
        new = sorted(numbers - ({self.next} if offered else set()))
        self.next = max(new or numbers, default=self.next - 1) + 1
        return (self._file(number).read_bytes() for number in new)

    def _file(self, number: int) -> Path:
        return self.files / FILE.format(number)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_exchanges: list[Exchange] = []  # one, from the first compilation on
_active: list[GraphCache] = []  # one at most


def _exchange(parent: Path) -> Exchange:
    if not _exchanges:
        stack = ExitStack()
        _exchanges.append(Exchange(stack.enter_context(writing_folder(parent))))
        atexit.register(stack.close)
    return _exchanges[0]


def active_graph_cache() -> GraphCache | None:
    """The cache of this process; None before `open_graph_cache`."""
    return _active[0] if _active else None


def close_graph_cache() -> None:
    """Compile as without a cache from now on."""
    _active.clear()


def open_graph_cache(config: Config, target: str, rank: int = 0, world: int = 1) -> None:
    """Use the cache of `config.compile_cache` from now on.

    Args:
        config: of all that is compiled from now on.
        target: device. Graphs are kept where this was tested: on the CPU, in a process that runs alone.
        rank: of this process.
        world: number of processes.

    Raises:
        UserError: the folder that the configuration names is not the user's own.
    """
    close_graph_cache()
    suitable = target == "CPU" and world == 1 and config.mode == "graph"
    store = _store(config.compile_cache) if suitable else None
    around = surroundings(config) if store else ""
    _active.append(GraphCache(store, around, f"{config.detector} {config.config_path}", rank))


def _store(place: str) -> GraphStore | None:
    """The store of a value of `compile_cache`."""
    if not place:
        return None
    if place != "1":
        return GraphStore(private_folder(Path(place)))
    try:
        return GraphStore(user_cache("graphs"))
    except UserError as error:
        logger.warning(f"compiled graphs are not kept for the next start: {error}")
        return None
