"""Convolutions and fully connected layers by the project's own CPU kernels (cpu/convolution.cc).

MindSpore hands oneDNN tensors in plain layout, for which oneDNN multiplies matrices of patches with AVX2. The kernels
do so with AVX-512 where there is one, make the patches tile by tile in the cache, and filter 3x3 kernels by Winograd's
algorithm; the layers are MindSpore's but for that. CUSTOM_CONV=0 in the environment keeps MindSpore's operators,
CUSTOM_CONV=direct the products with patches for all kernels.

In half precision the kernels get operands that were rounded to it, add up in float32 and round the result, as the
matrix units of GPUs and Ascend do.
"""

from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops

from src.model_utils.device_adapter import current_target
from src.ops.compile_time import compile_time
from src.ops.convolution.operators import Epilogue, convolution, convolution_with_epilogue, dense
from src.ops.precision import Precision, in_float32, in_type

# The kernels compute eight rows at a time (six with AVX2): with fewer outputs MindSpore's operator is faster.
FEWEST_OUTPUTS = 4


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, by the kernel where it can: on CPU, one group, odd kernel padded by half, stride 1 or 2.

    A dilated convolution is one without dilation of every n-th pixel: the kernel takes these as images of their own.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.apart = _pair(self.dilation)[0]
        suitable = (
            self.pad_mode == "pad"
            and self.group == 1
            and self.out_channels >= FEWEST_OUTPUTS
            and _pair(self.dilation) == (self.apart, self.apart)
            and all(size % 2 == 1 for size in self.kernel_size)
            and _margins(self.padding) == tuple(size // 2 * self.apart for size in self.kernel_size for _ in range(2))
            and (_pair(self.stride) == (1, 1) or (_pair(self.stride) == (2, 2) and self.apart == 1))
        )
        self.kernel = convolution(_pair(self.stride)[0]) if suitable else None
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
        if self.apart == 1 or self.kernel is None:
            return self._convolve(x)
        height, width = x.shape[2:]
        return _from_phases(self._convolve(_to_phases(x, self.apart)), self.apart)[:, :, :height, :width]

    def _convolve(self, x: Tensor) -> Tensor:
        if self.biased_kernel is not None:
            return self.biased_kernel(x, self.weight, self.bias)
        if self.plain_kernel is not None:
            return self.plain_kernel(x, self.weight)
        x, weight = in_type(x, self.compute_type), in_type(self.weight, self.compute_type)
        x = self.conv2d(x, weight) if self.kernel is None else _by_kernel(self.kernel, x, weight)
        if self.has_bias:
            x = self.bias_add(x, in_type(self.bias, self.compute_type))
        return in_type(x, self.output_type)

    def epilogue_kernel(self, epilogue: Epilogue) -> ops.Custom | None:
        """The convolution with what follows it; None: there is none, or the layer computes in half precision."""
        return self._epilogue_kernel(epilogue) if self.apart == 1 else None

    def _epilogue_kernel(self, epilogue: Epilogue) -> ops.Custom | None:
        return convolution_with_epilogue(_pair(self.stride)[0], epilogue) if _full_precision(self) else None

    @compile_time
    def biased_kernel(self) -> ops.Custom | None:
        """The convolution and its bias."""
        return self._epilogue_kernel(Epilogue(bias=True)) if self.has_bias else None

    @compile_time
    def plain_kernel(self) -> ops.Custom | None:
        """The convolution, where nothing has to be cast."""
        return self.kernel if _full_precision(self) and not self.has_bias else None


class Dense(nn.Dense):
    """`nn.Dense`, by the kernel where it can: on CPU."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.kernel = dense()
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
        self.kernel = convolution(1)
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

    def epilogue_kernel(self, epilogue: Epilogue) -> ops.Custom | None:
        """See `Conv2d.epilogue_kernel`."""
        return convolution_with_epilogue(1, epilogue) if _full_precision(self) else None


def _full_precision(layer: Conv2d | PointwiseConvolution) -> bool:
    """Whether the kernel takes what the layer is given, and gives what it gives."""
    return layer.kernel is not None and layer.compute_type == ms.float32 and layer.output_type == ms.float32


def _by_kernel(kernel: ops.Custom, x: Tensor, weight: Tensor) -> Tensor:
    """The kernel's result for operands of any type, in the type of `x`."""
    return in_type(kernel(in_float32(x), in_float32(weight)), x.dtype)


def _to_phases(x: Tensor, apart: int) -> Tensor:
    """[B,C,H,W] -> [apart * apart * B,C,ceil(H/apart),ceil(W/apart)], zero beyond the map."""
    batch, channels, height, width = x.shape
    rows, columns = -(-height // apart), -(-width // apart)
    if columns * apart != width:
        x = ops.concat((x, ops.zeros((batch, channels, height, columns * apart - width), x.dtype)), 3)
    if rows * apart != height:
        x = ops.concat((x, ops.zeros((batch, channels, rows * apart - height, columns * apart), x.dtype)), 2)
    x = x.reshape(batch, channels, rows, apart, columns, apart).transpose(3, 5, 0, 1, 2, 4)
    return x.reshape(apart * apart * batch, channels, rows, columns)


def _from_phases(x: Tensor, apart: int) -> Tensor:
    """The way back, to the sides that are multiples of `apart`."""
    images, channels, rows, columns = x.shape
    x = x.reshape(apart, apart, images // (apart * apart), channels, rows, columns).transpose(2, 3, 4, 0, 5, 1)
    return x.reshape(-1, channels, rows * apart, columns * apart)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[-2], value[-1])


def _margins(padding: int | tuple[int, ...]) -> tuple[int, ...]:
    return (padding,) * 4 if isinstance(padding, int) else tuple(padding)
