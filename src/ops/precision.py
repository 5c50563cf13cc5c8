"""Half precision, layer by layer: which type convolutions, fully connected layers and normalizations compute in.

Parameters stay float32, and so do running statistics. The levels follow MindSpore's `auto_mixed_precision`, which
rewrites networks; here the layers themselves cast, so that names, methods and kernels stay. What lies between the
layers, activations, sums and pooling, computes in the type that it is given; heads give float32.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import mindspore as ms
from mindspore import Tensor, nn

from src.common.errors import UserError
from src.model_utils.device_adapter import current_target

FULL_PRECISION = "O0"


class Precision(NamedTuple):
    """Types of a network's layers.

    Attributes:
        compute: of the operands of convolutions and fully connected layers.
        output: of what they give.
        norm_input: of what batch normalization takes; it computes and keeps statistics in float32 always.
        norm_output: of what it gives.
    """

    compute: Any
    output: Any
    norm_input: Any
    norm_output: Any


def precision_of(level: str, dtype: str) -> Precision:
    """The types of an `amp_level` in `dtype`, float16 or bfloat16."""
    half, full = getattr(ms, dtype), ms.float32
    return {
        FULL_PRECISION: Precision(full, full, full, full),
        "O1": Precision(half, full, full, full),
        "O2": Precision(half, half, full, half),
        "O3": Precision(half, half, half, half),
        "auto": Precision(half, half, full, full),
    }[level]


def set_precision(net: nn.Cell, level: str, dtype: str) -> None:
    """Let the layers of `net` compute in the types of a level from now on; compiled graphs stay as they are.

    Raises:
        UserError: the device does not have the type.
    """
    if level != FULL_PRECISION and dtype == "bfloat16" and current_target() == "CPU":
        raise UserError("amp_dtype bfloat16 works on GPU and Ascend; MindSpore has no such operators for CPU: float16")
    precision = precision_of(level, dtype)
    for _, cell in net.cells_and_names():
        if hasattr(cell, "set_precision"):
            cell.set_precision(precision)


@contextmanager
def precision_for_a_while(net: nn.Cell, level: str, usual: str, dtype: str) -> Iterator[None]:
    """What `net` compiles within the block computes in `level`, what it compiles after it in its `usual` one."""
    set_precision(net, level, dtype)
    try:
        yield
    finally:
        set_precision(net, usual, dtype)


def in_type(x: Tensor, dtype: Any) -> Tensor:
    """`x` itself where it has the type, so that graphs in float32 have no casts; else a cast of it."""
    return x if x.dtype == dtype else x.astype(dtype)


def in_float32(x: Tensor) -> Tensor:
    """`in_type` for float32."""
    return in_type(x, ms.float32)
