"""Max pooling by the project's own CPU kernel (cpu/max_pool.cc), elsewhere and in exports by MindSpore's operators."""

from functools import cache

import numpy as np
from mindspore import Tensor, nn, ops

from src.ops.cpu_kernels import cpu_library
from src.ops.precision import in_float32, in_type

TARGET = "CPU max pooling"
FACTORS = (2, 4, 8, 16)


class MaxPool2d(nn.Cell):
    """Largest value of each window: x [B,C,H,W] -> [B,C,H',W'], H' = (H + margin - kernel_size) // stride + 1.

    Windows begin `margin` rows and columns before x. With a margin, H and W must be multiples of `stride`, which must
    exceed it; then the last windows end within x, and H' = H / stride.

    Args:
        kernel_size: side of the window.
        stride: from window to window.
        margin: of the first windows; less than `kernel_size`.
        floor: what no value of x is below; with a margin only.
        ceil: the last windows of sides that are no multiples of `stride` count for what they have; without a margin.
    """

    def __init__(self, kernel_size: int, stride: int, margin: int = 0, floor: float = 0.0, ceil: bool = False) -> None:
        super().__init__()
        self.margin, self.floor = margin, floor
        self.standard = ops.MaxPool(kernel_size=kernel_size, strides=stride, pad_mode="same" if ceil else "valid")
        self.kernel = _kernel(kernel_size, stride, margin, ceil)
        self.form = Tensor(np.array([kernel_size, stride, margin], np.int32))

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on."""
        self.kernel = None

    def construct(self, x: Tensor) -> Tensor:
        """Pool `x` [B,C,H,W]."""
        if self.kernel is not None:
            return in_type(self.kernel(self.form, in_float32(x)), x.dtype)
        if self.margin == 0:
            return self.standard(x)
        return self._with_margin(x)

    def _with_margin(self, x: Tensor) -> Tensor:
        """Pool with zeros before x, which equal -inf where x is not negative; for that its floor is lifted to zero.

        They are concatenated because Pad is thirty times slower on CPU, and `nn.MaxPool2d(pad_mode="pad")` would become
        an operator that ONNX does not have.
        """
        if self.floor != 0.0:
            x = x - self.floor
        batch, channels, height, width = x.shape
        x = ops.concat((ops.zeros((batch, channels, self.margin, width), x.dtype), x), 2)
        x = ops.concat((ops.zeros((batch, channels, height + self.margin, self.margin), x.dtype), x), 3)
        x = self.standard(x)
        return x + self.floor if self.floor != 0.0 else x


class DownsampleMax(nn.Cell):
    """Largest of each factor x factor pixels: x [B,C,H,W] -> [B,C,H/factor,W/factor]; H and W are multiples of it."""

    def __init__(self) -> None:
        super().__init__()
        self.pools = nn.CellList([MaxPool2d(factor, factor) for factor in FACTORS])

    def construct(self, x: Tensor, factor: int) -> Tensor:
        """Pool `x` by one of `FACTORS`, or by 1, which changes nothing.

        Raises:
            ValueError: it is no such factor.
        """
        if factor == 1:
            return x
        if factor not in FACTORS:
            raise ValueError(f"a map can be pooled by {FACTORS}, not by {factor}")
        return self.pools[FACTORS.index(factor)](x)


def _kernel(kernel_size: int, stride: int, margin: int, ceil: bool) -> ops.Custom | None:
    path = cpu_library(TARGET)
    return None if path is None else _operator(path, kernel_size, stride, margin, ceil)


# One operator serves all layers of a form: MindSpore takes operators of equal name and attributes for one another.
@cache
def _operator(path: str, kernel_size: int, stride: int, margin: int, ceil: bool) -> ops.Custom:
    """(form, x) -> out, with its gradient."""

    def length(side: int) -> int:
        if ceil:
            return -(-side // stride)
        return (side + margin - kernel_size) // stride + 1

    def out_shape(_form: list[int], x: list[int]) -> tuple[int, ...]:
        return (x[0], x[1], length(x[2]), length(x[3]))

    gradient = ops.Custom(f"{path}:MaxPoolGradient", lambda _form, x, _dout: x, lambda _form, x, _dout: x, "aot")

    def backward(form: Tensor, x: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return ops.zeros_like(form), gradient(form, x, dout)

    operator = ops.Custom(f"{path}:MaxPool", out_shape, lambda _form, x: x, "aot", backward)
    operator.add_prim_attr("form", [kernel_size, stride, margin, int(ceil)])
    return operator
