"""Cells whose graphs are compiled once, kept for later starts, and waited for with a word."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mindspore import Tensor, nn

try:
    from mindspore.graph import api
except ImportError:  # where MindSpore 2.8 has it
    from mindspore.common import api

from src.common.heap import trim_heap
from src.common.heartbeat import heartbeat
from src.model_utils.graph_cache import GraphCache, active_graph_cache
from src.model_utils.graph_description import description
from src.model_utils.graph_key import checksum_of

logger = logging.getLogger(__name__)

NEWS_SECONDS = 10.0
FRONT_END_ONLY = "MS_DEV_PRECOMPILE_ONLY"  # of MindSpore: compile without building kernels

# MindSpore's cache would parse the script that was started, which is no file in `python -c` and the like. Sources are
# part of this project's own keys.
api.entry_script_path = None

_listeners: list[Callable[[str], None]] = []


@contextmanager
def compile_news_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Within the block what is said about compilations goes to `listener`, not to the module's logger."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


class CachedGraph(nn.Cell):
    """A cell that is called from Python, not from other cells: the root of a graph.

    Its cells must lead to all parameters that it computes with: MindSpore connects a graph from its cache to those, and
    leaves others as a new network has them. Where one is missing, the graph is not kept.
    """

    def __init__(self) -> None:
        super().__init__(auto_prefix=False)
        self.compiled_for: set[str] = set()

    @property
    def label(self) -> str:
        """What is compiled, the same at each start."""
        return type(self).__name__

    def compile_and_run(self, *args: Any, **kwargs: Any) -> Any:
        """What MindSpore does when the cell is called in graph mode."""
        cache = active_graph_cache()
        signature = repr([self.training, *map(_form, args)])
        if cache is None or kwargs or signature in self.compiled_for:
            return super().compile_and_run(*args, **kwargs)
        key = checksum_of([cache.surroundings, description(self), signature]) if cache.store else ""
        name = checksum_of([cache.name, self.label, signature])
        start = time.monotonic()
        trim_heap()  # loading a network's weights left up to 0.3 GB free, on top of which it would be compiled
        with _news(cache, name):
            apart = cache.compile_apart(key, lambda: self._compile_only(cache, key, *args))
            result, taken = self._compile_and_first_run(cache, key, *args)
        if cache.store and (apart or not taken):
            cache.store.remember_seconds(name, time.monotonic() - start)
        trim_heap()  # compiling left about 0.1 GB of a detector's training step free in pieces
        self.compiled_for.add(signature)
        return result

    def _compile_only(self, cache: GraphCache, key: str, *args: Any) -> None:
        """Compile as far as graphs are kept, and keep this one."""
        os.environ[FRONT_END_ONLY] = "1"
        with cache.compiling(key) as compilation:
            self.compile(*args)
            compilation.usable = self._computes_with_own_parameters()

    def _compile_and_first_run(self, cache: GraphCache, key: str, *args: Any) -> tuple[Any, bool]:
        """The result; whether the graph was found."""
        with cache.compiling(key) as compilation:
            self.compile(*args)
            if compilation.found and not self._fits():
                self.compile_cache.discard(self.compile_phase)
                self.compile(*args)
            compilation.usable = self._computes_with_own_parameters()
            result = super().compile_and_run(*args)
        return result, compilation.taken

    def _fits(self) -> bool:
        """Whether the graph's parameters are those of the cells by name, shape and type."""
        own = {name: (parameter.shape, parameter.dtype) for name, parameter in self.parameters_dict().items()}
        return all(own.get(name) == (used.shape, used.dtype) for name, used in self._used().items())

    def _computes_with_own_parameters(self) -> bool:
        """Whether they are those of the cells themselves, as far as MindSpore tells: not of a graph from its cache."""
        own = self.parameters_dict()
        return all(own.get(name) is used for name, used in self._used().items())

    def _used(self) -> dict[str, Tensor]:
        return api._cell_graph_executor._graph_executor.get_params(self.compile_phase)


def _form(argument: Any) -> str:
    """What of an argument is compiled into a graph: shape and type of a tensor, the value of others."""
    if isinstance(argument, Tensor):
        return f"{type(argument).__name__} {argument.shape} {argument.dtype}"
    return repr(argument)


@contextmanager
def _news(cache: GraphCache, name: str) -> Iterator[None]:
    """Say now and then that a graph is compiled, and how long that took at an earlier start."""
    last = cache.store and cache.store.seconds(name)
    expected = f"; about {last:.0f} s last time" if last else ""

    def say(seconds: int) -> None:
        if cache.rank == 0:
            (_listeners[-1] if _listeners else logger.info)(f"compiling, {seconds} s so far{expected}")

    with heartbeat(say, NEWS_SECONDS):
        yield
