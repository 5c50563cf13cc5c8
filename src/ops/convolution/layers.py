"""Convolutions and fully connected layers by the project's own CPU kernels (cpu/convolution.cc).

MindSpore hands oneDNN tensors in plain layout, for which oneDNN multiplies matrices of patches with AVX2. The kernels
do so with AVX-512 where there is one, make the patches tile by tile in the cache, and filter 3x3 kernels by Winograd's
algorithm; the layers are MindSpore's but for that. CUSTOM_CONV=0 in the environment keeps MindSpore's operators,
CUSTOM_CONV=direct the products with patches for all kernels.

In half precision the kernels get operands that were rounded to it, add up in float32 and round the result, as the
matrix units of GPUs and Ascend do.
"""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.model_utils.device_adapter import current_target
from src.ops.cpu_kernels import cpu_library
from src.ops.precision import Precision, in_float32, in_type

SWITCH = "CUSTOM_CONV"
# The kernels compute eight rows at a time: with fewer outputs MindSpore's operator is faster.
FEWEST_OUTPUTS = 8


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, by the kernel where it can: on CPU, one group, odd kernel padded by half, stride 1 or 2."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        suitable = (
            self.pad_mode == "pad"
            and self.group == 1
            and self.out_channels >= FEWEST_OUTPUTS
            and _pair(self.dilation) == (1, 1)
            and all(size % 2 == 1 for size in self.kernel_size)
            and _margins(self.padding) == tuple(size // 2 for size in self.kernel_size for _ in range(2))
            and _pair(self.stride) in ((1, 1), (2, 2))
        )
        self.kernel = _convolution(_pair(self.stride)[0]) if suitable else None
        self.compute_type = self.output_type = ms.float32

    def set_precision(self, precision: Precision) -> None:
        """Compute and give these types from now on; a dilated convolution computes in float32 on GPU always.

        There MindSpore lays half precision out as NHWC, and then refuses the dilation in the convolution's gradient.
        """
        dilated = _pair(self.dilation) != (1, 1)
        self.compute_type = ms.float32 if dilated and current_target() == "GPU" else precision.compute
        self.output_type = precision.output

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operator from now on."""
        self.kernel = None

    def construct(self, x: Tensor) -> Tensor:
        """`x` [B,in_channels,H,W] -> [B,out_channels,H',W']."""
        x, weight = in_type(x, self.compute_type), in_type(self.weight, self.compute_type)
        x = self.conv2d(x, weight) if self.kernel is None else _by_kernel(self.kernel, x, weight)
        if self.has_bias:
            x = self.bias_add(x, in_type(self.bias, self.compute_type))
        return in_type(x, self.output_type)


class Dense(nn.Dense):
    """`nn.Dense`, by the kernel where it can: on CPU."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.kernel = _dense()
        self.compute_type = self.output_type = ms.float32

    def set_precision(self, precision: Precision) -> None:
        """Compute and give these types from now on."""
        self.compute_type, self.output_type = precision.compute, precision.output

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operator from now on."""
        self.kernel = None

    def construct(self, x: Tensor) -> Tensor:
        """`x` [...,in_channels] -> [...,out_channels]."""
        shape = x.shape
        x, weight = in_type(x, self.compute_type), in_type(self.weight, self.compute_type)
        if len(shape) != 2:
            x = x.reshape(-1, shape[-1])
        x = self.matmul(x, weight) if self.kernel is None else _by_kernel(self.kernel, x, weight)
        if self.has_bias:
            x = self.bias_add(x, in_type(self.bias, self.compute_type))
        if self.activation_flag:
            x = self.activation(x)
        if len(shape) != 2:
            x = x.reshape(shape[:-1] + (self.out_channels,))
        return in_type(x, self.output_type)


class PointwiseConvolution(nn.Cell):
    """`ops.conv2d` of x [B,C,H,W] with weights [O,C,1,1] that are computed in the network."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = _convolution(1)
        self.compute_type = self.output_type = ms.float32

    def set_precision(self, precision: Precision) -> None:
        """Compute and give these types from now on."""
        self.compute_type, self.output_type = precision.compute, precision.output

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operator from now on."""
        self.kernel = None

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        """-> [B,O,H,W]."""
        x, weight = in_type(x, self.compute_type), in_type(weight, self.compute_type)
        x = ops.conv2d(x, weight) if self.kernel is None else _by_kernel(self.kernel, x, weight)
        return in_type(x, self.output_type)


def _by_kernel(kernel: ops.Custom, x: Tensor, weight: Tensor) -> Tensor:
    """The kernel's result for operands of any type, in the type of `x`."""
    return in_type(kernel(in_float32(x), in_float32(weight)), x.dtype)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[-2], value[-1])


def _margins(padding: int | tuple[int, ...]) -> tuple[int, ...]:
    return (padding,) * 4 if isinstance(padding, int) else tuple(padding)


def _kernels() -> str | None:
    """The library, where this process has a CPU that it is for; None: MindSpore's operators must do."""
    path = None if os.environ.get(SWITCH) == "0" else cpu_library("CPU convolution")
    return path if path and _supported(path) else None


@cache
def _supported(path: str) -> bool:
    """Whether this processor has what the library needs."""
    return bool(ctypes.CDLL(path).ConvolutionSupported())


def _convolution(stride: int) -> ops.Custom | None:
    path = _kernels()
    return path and _convolution_operator(path, stride)


def _dense() -> ops.Custom | None:
    path = _kernels()
    return path and _dense_operator(path)


# One operator serves all layers: MindSpore takes operators of equal name and attributes for one another anyway.
@cache
def _convolution_operator(path: str, stride: int) -> ops.Custom:
    """(x, weight) -> out, with its gradient."""

    def out_shape(x: list[int], weight: list[int]) -> tuple[int, ...]:
        return (x[0], weight[0], (x[2] + stride - 1) // stride, (x[3] + stride - 1) // stride)

    input_gradient = _gradient(f"{path}:Conv2dInputGradient")
    weight_gradient = _gradient(f"{path}:Conv2dWeightGradient")

    def backward(x: Tensor, weight: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return input_gradient(dout, weight, x), weight_gradient(x, dout, weight)

    operator = ops.Custom(f"{path}:Conv2d", out_shape, lambda x, _weight: x, "aot", backward)
    operator.add_prim_attr("stride", stride)
    return operator


@cache
def _dense_operator(path: str) -> ops.Custom:
    """(x, weight) -> x * weight transposed, with its gradient."""

    def product(name: str, shape: Callable) -> ops.Custom:
        return ops.Custom(f"{path}:{name}", shape, lambda a, _b: a, "aot")

    input_gradient = product("DenseInputGradient", lambda dout, weight: (dout[0], weight[1]))
    weight_gradient = product("DenseWeightGradient", lambda x, dout: (dout[1], x[1]))

    def backward(x: Tensor, weight: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return input_gradient(dout, weight), weight_gradient(x, dout)

    return ops.Custom(f"{path}:Dense", lambda x, weight: (x[0], weight[0]), lambda x, _weight: x, "aot", backward)


def _gradient(function: str) -> ops.Custom:
    """An operator of three arguments whose result is like the third."""

    def third(_first: Any, _second: Any, like: Any) -> Any:
        return like

    return ops.Custom(function, third, third, "aot")
