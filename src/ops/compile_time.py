"""Attributes that are computed when a graph is compiled."""

from collections.abc import Callable
from typing import Any


class compile_time:  # noqa: N801 (a decorator, as `property` is)
    """A property of a cell that Python computes, while MindSpore compiles the body of a `property` into the graph.

    So a graph holds what was chosen, and nothing of the choice.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __get__(self, cell: Any, owner: type) -> Any:
        """The value for `cell`."""
        return self if cell is None else self.function(cell)
