"""Convolution, normalization, activation."""

from mindspore import nn

from src.blocks.initialization import he_normal
from src.blocks.layers.activation import build_activation
from src.blocks.layers.norm import DEFAULT_NORM, Norm, build_norm


def conv2d(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, has_bias: bool = False) -> nn.Conv2d:
    """A convolution padded by kernel_size // 2 on all sides (PyTorch's way), with He-normal weights over its inputs."""
    fan_in = in_channels * kernel_size * kernel_size
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        pad_mode="pad",
        padding=kernel_size // 2,
        has_bias=has_bias,
        weight_init=he_normal(fan_in),
        bias_init="zeros",
    )


class ConvModule(nn.Cell):
    """Convolution without bias, batch normalization and activation, named `conv` and `bn` as in mmcv's ConvModule.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: side of the square kernel; the padding is half of it.
        stride: of the convolution.
        norm: the normalization.
        act: `relu`, `swish` or `none`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        norm: Norm = DEFAULT_NORM,
        act: str = "relu",
    ):
        super().__init__()
        self.conv = conv2d(in_channels, out_channels, kernel_size, stride)
        self.bn = build_norm(norm, out_channels)
        self.act = build_activation(act)

    def construct(self, x):
        """x [B,in_channels,H,W] -> [B,out_channels,H/stride,W/stride]."""
        return self.act(self.bn(self.conv(x)))
