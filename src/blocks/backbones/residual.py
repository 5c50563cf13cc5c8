"""Residual blocks, named as torchvision's."""

from collections.abc import Callable
from typing import Any, NamedTuple

from mindspore import Tensor, nn
from mindspore.common.initializer import Initializer

from src.blocks.layers import ConvNormAct, Norm, build_activation, build_norm, conv2d


class BlockOptions(NamedTuple):
    """What all residual blocks of a network have in common.

    Attributes:
        norm: the normalization.
        act: activation.
        zero_init_residual: start with a zero gamma in the last normalization.
        weight_init: makes the initializer of the convolutions' weights; None: He-normal over the inputs.
    """

    norm: Norm
    act: str = "relu"
    zero_init_residual: bool = False
    weight_init: Callable[[], Initializer] | None = None


def _shortcut(in_channels: int, out_channels: int, stride: int, options: BlockOptions) -> nn.SequentialCell | None:
    if in_channels == out_channels and stride == 1:
        return None
    conv = conv2d(in_channels, out_channels, 1, stride, weight_init=options.weight_init)
    return nn.SequentialCell(conv, build_norm(options.norm, out_channels))


def _steps(block: nn.Cell, count: int) -> tuple[ConvNormAct, ...]:
    """What a block does, of its layers: `count` convolutions and, where there is one, the shortcut's."""
    parts = [(getattr(block, f"conv{i}"), getattr(block, f"bn{i}"), block.act) for i in range(1, count + 1)]
    if block.downsample is not None:
        parts.append((*block.downsample, None))
    return tuple(ConvNormAct(*part, auto_prefix=False) for part in parts)


def _start_as_identity(norm_layer: nn.Cell) -> None:
    """Zero gamma: the residual branch adds nothing at first (Goyal et al. 2017, section 5.1)."""
    norm_layer.gamma.set_data(norm_layer.gamma * 0)


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        in_channels: channels of the input.
        planes: channels of both convolutions and of the output.
        options: normalization, activation and initial weights.
        stride: of the first convolution and of the shortcut.
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, options: BlockOptions, stride: int = 1) -> None:
        super().__init__()
        norm, act, zero_init_residual, weight_init = options
        self.conv1 = conv2d(in_channels, planes, 3, stride, weight_init=weight_init)
        self.bn1 = build_norm(norm, planes)
        self.conv2 = conv2d(planes, planes, 3, weight_init=weight_init)
        self.bn2 = build_norm(norm, planes)
        self.act = build_activation(act)
        self.downsample = _shortcut(in_channels, planes, stride, options)
        self.steps = _steps(self, 2)
        if zero_init_residual:
            _start_as_identity(self.bn2)

    def construct(self, x: Tensor) -> Tensor:
        """`x` [B,in_channels,H,W] -> [B,planes,H/stride,W/stride]."""
        shortcut = x if self.downsample is None else self.steps[2](x)
        return self.steps[1].with_shortcut(self.steps[0](x), shortcut)


class Bottleneck(nn.Cell):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the output has four times the planes.

    Args:
        in_channels: channels of the input.
        planes: a fourth of the output's channels.
        options: normalization, activation and initial weights.
        stride: of the 3x3 convolution (torchvision's way) and of the shortcut.
        groups: groups of the 3x3 convolution (Xie et al. 2017, figure 3c).
        inner_channels: output channels of the first two convolutions; None: `planes`.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        options: BlockOptions,
        stride: int = 1,
        groups: int = 1,
        inner_channels: int | None = None,
    ) -> None:
        super().__init__()
        norm, act, zero_init_residual, weight_init = options
        inner = inner_channels or planes
        out_channels = planes * self.expansion
        self.conv1 = conv2d(in_channels, inner, 1, weight_init=weight_init)
        self.bn1 = build_norm(norm, inner)
        self.conv2 = conv2d(inner, inner, 3, stride, groups=groups, weight_init=weight_init)
        self.bn2 = build_norm(norm, inner)
        self.conv3 = conv2d(inner, out_channels, 1, weight_init=weight_init)
        self.bn3 = build_norm(norm, out_channels)
        self.act = build_activation(act)
        self.downsample = _shortcut(in_channels, out_channels, stride, options)
        self.steps = _steps(self, 3)
        if zero_init_residual:
            _start_as_identity(self.bn3)

    def construct(self, x: Tensor) -> Tensor:
        """`x` [B,in_channels,H,W] -> [B,4*planes,H/stride,W/stride]."""
        shortcut = x if self.downsample is None else self.steps[3](x)
        return self.steps[2].with_shortcut(self.steps[1](self.steps[0](x)), shortcut)


Block = BasicBlock | Bottleneck


def block_group(
    block: type[Block],
    in_channels: int,
    planes: int,
    repeats: int,
    options: BlockOptions,
    stride: int = 1,
    **further: Any,
) -> nn.SequentialCell:
    """`repeats` blocks in a row; only the first may change the number of channels and has the stride.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        in_channels: channels of the input.
        planes: as in the block.
        repeats: number of blocks.
        options: normalization, activation and initial weights.
        stride: of the first block.
        further: further arguments of every block.
    """
    widths = [in_channels] + [planes * block.expansion] * (repeats - 1)
    cells = [block(width, planes, options, stride=stride if i == 0 else 1, **further) for i, width in enumerate(widths)]
    return nn.SequentialCell(*cells)
