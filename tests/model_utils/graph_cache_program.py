"""Compiles small cells with a graph cache, in the order of the arguments, and prints what they compute.

    python graph_cache_program.py FOLDER first second wide plain

`wide` is the first cell for another shape, `plain` a cell outside the cache. Each line: name, shape,
whether an earlier start compiled its graph, results of two calls, and of one with other weights.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import src  # noqa: F401  before any import of mindspore

import mindspore as ms  # isort: skip
import numpy as np
from mindspore import Parameter, Tensor, nn

from src.model_utils import cached_graph
from src.model_utils.device_adapter import setup_device
from src.model_utils.graph_cache import Compilation, active_graph_cache
from src.schema import Config


class Scaled(cached_graph.CachedGraph):
    """(x + weight) * factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.weight = Parameter(Tensor(np.zeros(3, np.float32)), name="weight")

    def construct(self, x: Tensor) -> Tensor:
        """Of x [N,3]."""
        return (x + self.weight) * self.factor


class Plain(nn.Cell):
    """Compiled in between, without a cache."""

    def construct(self, x: Tensor) -> Tensor:
        """Of any shape."""
        return x - 1


def main() -> None:
    """See above."""
    folder, *names = sys.argv[1:]
    setup_device(Config(device_target="CPU", coco_classes=["background", "any"], compile_cache=folder))
    cells: dict[str, nn.Cell] = {"first": Scaled(2.0), "second": Scaled(10.0), "plain": Plain()}
    cells["wide"] = cells["first"]
    for cell in (cells["first"], cells["second"]):
        cell.weight.set_data(Tensor(np.full(3, 4, np.float32)))
    compilations: list[Compilation] = []
    cache = active_graph_cache()
    compiling, compile_apart = cache.compiling, cache.compile_apart
    apart: list[bool] = []

    def noted_apart(key: str, work: Callable[[], None]) -> bool:
        apart.append(compile_apart(key, work))
        return apart[-1]

    @contextmanager
    def noted(key: str) -> Iterator[Compilation]:
        with compiling(key) as compilation:
            yield compilation
        compilations.append(compilation)

    cache.compiling, cache.compile_apart = noted, noted_apart
    for name in names:
        x = Tensor(np.ones((2 if name == "wide" else 1, 3), np.float32))
        compilations.clear()
        apart.clear()
        results = [cells[name](x).asnumpy()[-1, -1] for _ in range(2)]
        if name != "plain":
            cells[name].weight.set_data(Tensor(np.full(3, 5, np.float32)))
            results.append(cells[name](x).asnumpy()[-1, -1])
            cells[name].weight.set_data(Tensor(np.full(3, 4, np.float32)))
        print(name, x.shape, *(one.taken and not any(apart) for one in compilations), *results)


if __name__ == "__main__":
    ms.set_context(mode=ms.GRAPH_MODE)
    main()
