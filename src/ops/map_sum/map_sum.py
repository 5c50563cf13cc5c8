"""Sums of two feature maps by the project's own CPU kernels (cpu/map_sum.cc), elsewhere by MindSpore's operators.

They repeat the smaller map's pixels, scale, add and run ReLU while they read and write each map once.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.ops.cpu_kernels import cpu_library
from src.ops.precision import in_float32, in_type
from src.ops.upsample import upsample_nearest

TARGET = "CPU sums of maps"


class _Sum(nn.Cell):
    """A sum of two maps by a kernel, which `operator` makes, or by MindSpore's operators."""

    def __init__(self, operator: Callable[[str, bool], ops.Custom], relu: bool) -> None:
        super().__init__()
        self.relu = relu
        path = cpu_library(TARGET)
        self.kernel: Any = path and operator(path, relu)

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on."""
        self.kernel = None

    def _takes(self, a: Tensor, b: Tensor) -> bool:
        """Whether the kernel does."""
        return self.kernel is not None and a.dtype == ms.float32 and b.dtype == ms.float32


class MapSum(_Sum):
    """Sum of two maps; where one is smaller, its pixels are repeated (nearest neighbors).

    The larger map is [B,C,H,W], the smaller one [B,C,h,w] with h = ceil(H / f) and w = ceil(W / f) for a whole f: what
    would reach beyond the larger one is cut off.

    Args:
        relu: ReLU follows.
    """

    def __init__(self, relu: bool = False) -> None:
        super().__init__(_sum_operator, relu)

    def construct(self, a: Tensor, b: Tensor) -> Tensor:
        """Add two maps of one type in either order: [B,C,H,W].

        Raises:
            ValueError: neither is the other, repeated.
        """
        if a.shape[2] < b.shape[2] or a.shape[3] < b.shape[3]:
            a, b = b, a
        # Here and not in a function of both: a graph would drop it with the factor, which kernels do not need.
        factor = repetition(a.shape, b.shape)
        if factor == 0 or (self.kernel is not None and a.shape[0] != b.shape[0]):
            raise ValueError(f"a map of shape {b.shape} cannot be repeated to one of {a.shape}")
        if self._takes(a, b):
            return self.kernel(a, b)
        out = a + _repeated(b, factor, a.shape)
        return ops.relu(out) if self.relu else out


class AttentionSum(_Sum):
    """a + sigmoid(mean of each channel of a) * b, where b may be smaller as in `MapSum`.

    The attention is computed in float32.

    Args:
        relu: ReLU follows.
    """

    def __init__(self, relu: bool = False) -> None:
        super().__init__(_attention_operator, relu)

    def construct(self, a: Tensor, b: Tensor) -> Tensor:
        """Add b [B,C,h,w] to a [B,C,H,W], both of one type: [B,C,H,W].

        Raises:
            ValueError: a is no repetition of b.
        """
        factor = repetition(a.shape, b.shape)
        if factor == 0 or (self.kernel is not None and a.shape[0] != b.shape[0]):
            raise ValueError(f"a map of shape {b.shape} cannot be repeated to one of {a.shape}")
        if self._takes(a, b):
            return self.kernel(a, b)[0]
        attention = ops.sigmoid(in_float32(a).mean((2, 3), keep_dims=True))
        out = a + in_type(attention, b.dtype) * _repeated(b, factor, a.shape)
        return ops.relu(out) if self.relu else out


def repetition(larger: tuple[int, ...], smaller: tuple[int, ...]) -> int:
    """The factor by which a map of shape `smaller` [B,C,h,w] is repeated to fill one of shape `larger` [B,C,H,W].

    It is 0 where there is none, or where the channels differ. The batch may be any number until the graph runs.
    """
    rows, columns = -(-larger[2] // smaller[2]), -(-larger[3] // smaller[3])
    factor = rows if rows > columns else columns
    fits = -(-larger[2] // factor) == smaller[2] and -(-larger[3] // factor) == smaller[3]
    return factor if fits and larger[1] == smaller[1] else 0


def _repeated(x: Tensor, factor: int, shape: tuple[int, ...]) -> Tensor:
    """`x`, repeated and cut to the sides of `shape` [B,C,H,W]."""
    x = upsample_nearest(x, factor)
    # Nearest neighbors to `2n - 1` are those to `2n` without the last.
    return x if x.shape[2:] == shape[2:] else x[:, :, : shape[2], : shape[3]]


def _like_first(first: Any, *_others: Any) -> Any:
    return first


# One operator serves all sums: MindSpore takes operators of equal name and attributes for one another anyway.
@cache
def _sum_operator(path: str, relu: bool) -> ops.Custom:
    """(a, b) -> out."""

    def like_maps(_dout: Any, out: Any, b: Any) -> tuple:
        return out, b

    def like_second(_dout: Any, b: Any) -> Any:
        return b

    repeated = ops.Custom(f"{path}:MapSumGradient", like_second, like_second, "aot")
    of_relu = ops.Custom(f"{path}:ReluGradient", _like_first, _like_first, "aot")
    repeated_and_relu = ops.Custom(f"{path}:MapSumReluGradient", like_maps, like_maps, "aot")

    def backward(a: Tensor, b: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout, dout if a.shape == b.shape else repeated(dout, b)

    def backward_through_relu(a: Tensor, b: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        if a.shape == b.shape:
            d = of_relu(dout, out)
            return d, d
        return repeated_and_relu(dout, out, b)

    if relu:
        return ops.Custom(f"{path}:MapSumRelu", _like_first, _like_first, "aot", backward_through_relu)
    return ops.Custom(f"{path}:MapSum", _like_first, _like_first, "aot", backward)


@cache
def _attention_operator(path: str, relu: bool) -> ops.Custom:
    """(a, b) -> out, attention [B,C,1,1]."""

    def shapes(a: list[int], _b: list[int]) -> tuple:
        return a, [a[0], a[1], 1, 1]

    def types(a: Any, _b: Any) -> tuple:
        return a, a

    def like_maps(dout: Any, b: Any, _attention: Any) -> tuple:
        return dout, b

    def like_maps_after_relu(dout: Any, _out: Any, b: Any, _attention: Any) -> tuple:
        return dout, b

    gradient = ops.Custom(f"{path}:AttentionSumGradient", like_maps, like_maps, "aot")
    relu_gradient = ops.Custom(f"{path}:AttentionSumReluGradient", like_maps_after_relu, like_maps_after_relu, "aot")

    def backward(
        _a: Tensor, b: Tensor, out: tuple[Tensor, Tensor], dout: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        return gradient(dout[0], b, out[1])

    def backward_through_relu(
        _a: Tensor, b: Tensor, out: tuple[Tensor, Tensor], dout: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        return relu_gradient(dout[0], out[0], b, out[1])

    if relu:
        return ops.Custom(f"{path}:AttentionSumRelu", shapes, types, "aot", backward_through_relu)
    return ops.Custom(f"{path}:AttentionSum", shapes, types, "aot", backward)
