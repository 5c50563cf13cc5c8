"""From a backbone's three feature maps to RefineDet's four levels (Zhang et al. 2018, arXiv:1711.06897)."""

from collections.abc import Sequence

from mindspore import Tensor, nn

from src.blocks.backbones.residual import BlockOptions, Bottleneck
from src.blocks.initialization import kaiming_fan_out, xavier_uniform
from src.blocks.layers import ConvNormAct, L2Norm, Norm, conv2d

L2_SCALES = (10.0, 8.0)


class VGGLevels(nn.Cell):
    """L2 normalization of conv4_3 and conv5_3, and conv6_1 and conv6_2 after fc7.

    Args:
        in_channels: channels of conv4_3, conv5_3 and fc7.

    Attributes:
        out_channels: channels of the four levels.
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.l2_norms = nn.CellList([L2Norm(*pair) for pair in zip(in_channels, L2_SCALES, strict=False)])
        middle, last = in_channels[-1] // 4, in_channels[-1] // 2
        self.conv6_1 = conv2d(in_channels[-1], middle, 1, has_bias=True, weight_init=xavier_uniform)
        self.conv6_2 = conv2d(middle, last, 3, 2, has_bias=True, weight_init=xavier_uniform)
        self.relu = nn.ReLU()
        convs = (self.conv6_1, self.conv6_2)
        self.steps = tuple(ConvNormAct(conv, None, self.relu, auto_prefix=False) for conv in convs)
        self.out_channels = (*in_channels, last)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(conv4_3, conv5_3, fc7) -> (normalized conv4_3, normalized conv5_3, fc7, conv6_2)."""
        conv4_3, conv5_3, fc7 = features
        conv6_2 = self.steps[1](self.steps[0](fc7))
        return self.l2_norms[0](conv4_3), self.l2_norms[1](conv5_3), fc7, conv6_2


class ResNetLevels(nn.Cell):
    """One residual block of stride 2 more than ResNet has: the level with a fourth of the last stage's channels.

    128, 128 and 512 channels after ResNet-101 in the authors' examples/refinedet/ResNet101_COCO_320.py.

    Args:
        in_channels: channels of the last three stages.
        norm: the normalization.

    Attributes:
        out_channels: channels of the four levels.
    """

    def __init__(self, in_channels: Sequence[int], norm: Norm) -> None:
        super().__init__()
        planes = in_channels[-1] // 16
        options = BlockOptions(norm, weight_init=kaiming_fan_out)
        self.layer5 = Bottleneck(in_channels[-1], planes, options, stride=2)
        self.out_channels = (*in_channels, planes * Bottleneck.expansion)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(C3, C4, C5) -> (C3, C4, C5, the new block's output)."""
        return features + (self.layer5(features[-1]),)
