"""The cells that a graph is compiled from, as a checksum of all their settings and constants."""

import hashlib
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from src.model_utils.graph_key import checksum_of

Seen = dict[int, tuple[int, Any]]
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # in texts that layers make of their arguments
A_TIME = 10**17  # nanoseconds since 1970, by which MindSpore tells its own functions apart
PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), slice, Path, ms.Type)
# What MindSpore notes in cells and operators as they run, with numbers of objects that differ from start to start.
NOTES = (vars(nn.Cell()).keys() | vars(ops.Primitive("any")).keys()) - {"training", "mixed_precision_type", "name"}
NOTES |= {"current_phase", "compile_phase", "sequence_modified", "__compile_cell_hook__", "__parse_method__"}
NOTES |= {"_func_graph_flags", "compiled_for"}  # what `get_flags` gives, and a note of `CachedGraph`


def description(value: Any) -> str:
    """A checksum of a cell, or of any object that a graph is made of.

    It covers settings, constants, operators and their attributes, parts of parts, and the source file of each class and
    function outside this package and MindSpore; of parameters name, shape, type and whether they train.
    """
    return checksum_of(_lines(value, {}))


def _lines(value: Any, seen: Seen) -> Iterator[str]:
    """Texts that are the same for equal values; `seen` has the objects that were described, under their `id`."""
    if isinstance(value, int) and value > A_TIME:
        yield "a time"
        return
    if isinstance(value, PLAIN):
        yield f"{type(value).__name__} {ADDRESS.sub('', repr(value))}"
        return
    if isinstance(value, dict | list | tuple | set | frozenset):  # some are made at each look
        yield from _parts(value, seen)
        return
    if id(value) in seen:
        yield f"again {seen[id(value)][0]}"
        return
    seen[id(value)] = len(seen), value  # kept, so that no other object gets its id
    if isinstance(value, Parameter):
        yield f"parameter {value.name} {value.shape} {value.dtype} {value.requires_grad}"
    elif isinstance(value, Tensor | np.ndarray):
        array = value.asnumpy() if isinstance(value, Tensor) else value
        yield f"array {array.shape} {array.dtype} {hashlib.sha256(array.tobytes()).hexdigest()}"
    elif isinstance(value, ModuleType):
        yield f"module {value.__name__}"
    elif isinstance(value, type | FunctionType):
        yield f"{value.__module__}.{value.__qualname__} {_outside_source(value.__module__)}"
        yield from _lines(_closure(value), seen)
    else:
        yield from _lines(type(value), seen)
        yield from _parts(value, seen)


def _parts(value: Any, seen: Seen) -> Iterator[str]:
    if isinstance(value, MethodType):
        parts: Any = (value.__func__, value.__self__)
    elif isinstance(value, partial):
        parts = (value.func, value.args, value.keywords)
    elif isinstance(value, dict):
        parts = [part for item in value.items() for part in item]
    elif isinstance(value, list | tuple):
        parts = value
    elif isinstance(value, set | frozenset):
        parts = sorted(map(repr, value))
    else:
        parts = [part for item in sorted(_attributes(value).items()) for part in item]
    yield f"{type(value).__qualname__} of {len(parts)}"
    for part in parts:
        yield from _lines(part, seen)


def _attributes(value: Any) -> dict[str, Any]:
    """What an object holds, by name, without what MindSpore notes in it."""
    held = {name: part for name, part in getattr(value, "__dict__", {}).items() if name not in NOTES}
    if isinstance(value, nn.Cell):
        held |= {
            "its cells": vars(value)["_cells"],
            "its parameters": vars(value)["_params"],
            "flags": value.get_flags(),
        }
    if isinstance(value, ops.Primitive):
        held |= {"its attributes": dict(value.attrs)}
    return held


def _closure(value: Any) -> list:
    """Values that a function has from around it, and its defaults."""
    if not isinstance(value, FunctionType):
        return []
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    return [cells, value.__defaults__, value.__kwdefaults__]


@cache
def _outside_source(module: str) -> str:
    """A checksum of a module's file; empty for this package and MindSpore, which are known otherwise."""
    if module.partition(".")[0] in ("src", "mindspore", "builtins", "numpy"):
        return ""
    try:
        return hashlib.sha256(Path(inspect.getfile(sys.modules[module])).read_bytes()).hexdigest()
    except (OSError, TypeError, KeyError):
        return ""
