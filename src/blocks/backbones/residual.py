"""Residual blocks with a fixed resolution, named as torchvision's."""

from mindspore import nn

from src.blocks.layers import Norm, build_activation, build_norm, conv2d


def _shortcut(in_channels: int, out_channels: int, norm: Norm) -> nn.SequentialCell | None:
    if in_channels == out_channels:
        return None
    return nn.SequentialCell(conv2d(in_channels, out_channels, 1), build_norm(norm, out_channels))


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
    """

    expansion = 1

    def __init__(self, in_channels: int, planes: int, norm: Norm, act: str, zero_init_residual: bool):
        super().__init__()
        self.conv1 = conv2d(in_channels, planes, 3)
        self.bn1 = build_norm(norm, planes)
        self.conv2 = conv2d(planes, planes, 3)
        self.bn2 = build_norm(norm, planes)
        self.act = build_activation(act)
        self.downsample = _shortcut(in_channels, planes, norm)
        if zero_init_residual:
            _start_as_identity(self.bn2)

    def construct(self, x):
        """x [B,in_channels,H,W] -> [B,planes,H,W]."""
        out = self.act(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act(out + shortcut)


class Bottleneck(nn.Cell):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the output has four times the planes.

    Args:
        in_channels: channels of the input.
        planes: channels of the first two convolutions.
        norm: the normalization.
        act: activation.
        zero_init_residual: start with a zero gamma in the last normalization.
    """

    expansion = 4

    def __init__(self, in_channels: int, planes: int, norm: Norm, act: str, zero_init_residual: bool):
        super().__init__()
        out_channels = planes * self.expansion
        self.conv1 = conv2d(in_channels, planes, 1)
        self.bn1 = build_norm(norm, planes)
        self.conv2 = conv2d(planes, planes, 3)
        self.bn2 = build_norm(norm, planes)
        self.conv3 = conv2d(planes, out_channels, 1)
        self.bn3 = build_norm(norm, out_channels)
        self.act = build_activation(act)
        self.downsample = _shortcut(in_channels, out_channels, norm)
        if zero_init_residual:
            _start_as_identity(self.bn3)

    def construct(self, x):
        """x [B,in_channels,H,W] -> [B,4*planes,H,W]."""
        out = self.act(self.bn1(self.conv1(x)))
        out = self.act(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.act(out + shortcut)


def block_group(block, in_channels: int, planes: int, repeats: int, norm: Norm, act: str, zero_init_residual: bool):
    """`repeats` blocks in a row; only the first may change the number of channels."""
    out_channels = planes * block.expansion
    cells = [
        block(in_channels if i == 0 else out_channels, planes, norm, act, zero_init_residual) for i in range(repeats)
    ]
    return nn.SequentialCell(*cells)
