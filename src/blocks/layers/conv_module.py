"""Convolution, normalization, activation."""

from collections.abc import Callable

from mindspore.common.initializer import Initializer

from src.blocks.initialization import he_normal
from src.blocks.layers.activation import build_activation
from src.blocks.layers.conv_norm_act import ConvNormAct
from src.blocks.layers.norm import DEFAULT_NORM, Norm, build_norm
from src.ops.convolution.layers import Conv2d


def conv2d(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    has_bias: bool = False,
    groups: int = 1,
    weight_init: Callable[[], Initializer] | None = None,
    dilation: int = 1,
) -> Conv2d:
    """A convolution padded by kernel_size // 2 * dilation on all sides (PyTorch's way).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the square kernel.
        stride: step of the kernel.
        has_bias: add a bias, which starts at zero.
        groups: number of groups of channels that do not see each other.
        weight_init: makes the weights' initializer; None: He-normal over the inputs.
        dilation: pixels between the kernel's taps.
    """
    fan_in = in_channels // groups * kernel_size * kernel_size
    return Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=kernel_size // 2 * dilation,
        dilation=dilation,
        group=groups,
        has_bias=has_bias,
        weight_init=weight_init() if weight_init else he_normal(fan_in),
        bias_init="zeros",
    )


class ConvModule(ConvNormAct):
    """Convolution, batch normalization and activation, named `conv` and `bn` as in mmcv's ConvModule.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the square kernel; the padding is half of it.
        stride: of the convolution.
        norm: the normalization; None: none.
        act: `relu`, `swish` or `none`.
        weight_init: makes the initializer of the convolution's weights; None: He-normal over the inputs.
        has_bias: whether the convolution has a bias; None: where no normalization follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        norm: Norm | None = DEFAULT_NORM,
        act: str = "relu",
        weight_init: Callable[[], Initializer] | None = None,
        has_bias: bool | None = None,
    ) -> None:
        has_bias = norm is None if has_bias is None else has_bias
        super().__init__(
            conv2d(in_channels, out_channels, kernel_size, stride, has_bias=has_bias, weight_init=weight_init),
            None if norm is None else build_norm(norm, out_channels),
            build_activation(act),
        )
