"""Residual blocks, named as torchvision's."""

from collections.abc import Callable

from mindspore import nn
from mindspore.common.initializer import Initializer

from src.blocks.layers import Norm, build_activation, build_norm, conv2d

WeightInit = Callable[[], Initializer] | None


def _shortcut(
    in_channels: int, out_channels: int, norm: Norm, stride: int, weight_init: WeightInit
) -> nn.SequentialCell | None:
    if in_channels == out_channels and stride == 1:
        return None
    conv = conv2d(in_channels, out_channels, 1, stride, weight_init=weight_init)
    return nn.SequentialCell(conv, build_norm(norm, out_channels))


def _start_as_identity(norm_layer: nn.Cell) -> None:
    """Zero gamma: the residual branch adds nothing at first (Goyal et al. 2017, section 5.1)."""
    norm_layer.gamma.set_data(norm_layer.gamma * 0)


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        in_channels: channels of the input.
        planes: channels of both convolutions and of the output.
        norm: the normalization.
        act: activation.
        zero_init_residual: start with a zero gamma in the last normalization.
        stride: of the first convolution and of the shortcut.
        weight_init: makes the initializer of the convolutions' weights; None: He-normal over the inputs.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        planes: int,
        norm: Norm,
        act: str,
        zero_init_residual: bool,
        stride: int = 1,
        weight_init: WeightInit = None,
    ):
        super().__init__()
        self.conv1 = conv2d(in_channels, planes, 3, stride, weight_init=weight_init)
        self.bn1 = build_norm(norm, planes)
        self.conv2 = conv2d(planes, planes, 3, weight_init=weight_init)
        self.bn2 = build_norm(norm, planes)
        self.act = build_activation(act)
        self.downsample = _shortcut(in_channels, planes, norm, stride, weight_init)
        if zero_init_residual:
            _start_as_identity(self.bn2)

    def construct(self, x):
        """X [B,in_channels,H,W] -> [B,planes,H/stride,W/stride]."""
        out = self.act(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act(out + shortcut)


class Bottleneck(nn.Cell):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the output has four times the planes.

    Args:
        in_channels: channels of the input.
        planes: a fourth of the output's channels.
        norm: the normalization.
        act: activation.
        zero_init_residual: start with a zero gamma in the last normalization.
        stride: of the 3x3 convolution (torchvision's way) and of the shortcut.
        groups: groups of the 3x3 convolution (Xie et al. 2017, figure 3c).
        inner_channels: output channels of the first two convolutions; None: `planes`.
        weight_init: makes the initializer of the convolutions' weights; None: He-normal over the inputs.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        norm: Norm,
        act: str,
        zero_init_residual: bool,
        stride: int = 1,
        groups: int = 1,
        inner_channels: int | None = None,
        weight_init: WeightInit = None,
    ):
        super().__init__()
        inner = inner_channels or planes
        out_channels = planes * self.expansion
        self.conv1 = conv2d(in_channels, inner, 1, weight_init=weight_init)
        self.bn1 = build_norm(norm, inner)
        self.conv2 = conv2d(inner, inner, 3, stride, groups=groups, weight_init=weight_init)
        self.bn2 = build_norm(norm, inner)
        self.conv3 = conv2d(inner, out_channels, 1, weight_init=weight_init)
        self.bn3 = build_norm(norm, out_channels)
        self.act = build_activation(act)
        self.downsample = _shortcut(in_channels, out_channels, norm, stride, weight_init)
        if zero_init_residual:
            _start_as_identity(self.bn3)

    def construct(self, x):
        """X [B,in_channels,H,W] -> [B,4*planes,H/stride,W/stride]."""
        out = self.act(self.bn1(self.conv1(x)))
        out = self.act(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act(out + shortcut)


def block_group(
    block: type,
    in_channels: int,
    planes: int,
    repeats: int,
    norm: Norm,
    act: str,
    zero_init_residual: bool,
    stride: int = 1,
    **options,
) -> nn.SequentialCell:
    """`repeats` blocks in a row; only the first may change the number of channels and has the stride.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        in_channels, planes, norm, act, zero_init_residual, stride: as in the block.
        repeats: number of blocks.
        options: further arguments of every block.
    """
    widths = [in_channels] + [planes * block.expansion] * (repeats - 1)
    cells = [
        block(width, planes, norm, act, zero_init_residual, stride=stride if i == 0 else 1, **options)
        for i, width in enumerate(widths)
    ]
    return nn.SequentialCell(*cells)
