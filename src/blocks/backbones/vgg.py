"""VGG-16 (Simonyan and Zisserman 2015, arXiv:1409.1556) without its classifier, as SSD and RefineDet use it."""

from mindspore import Tensor, nn

from src.blocks.architectures import VGG16_FC_FACTOR, VGG16_GROUPS
from src.blocks.backbones.recompute import recomputed_chain
from src.blocks.layers import ConvNormAct, MaxPool2d, Norm, build_norm, conv2d

CEILING_POOL = 2  # the third pool keeps the last row and column of odd sizes (SSD's way), the others drop them
FC6_DILATION = 3


class VGG16(nn.Cell):
    """Thirteen 3x3 convolutions and the fully connected fc6 and fc7 as convolutions; outputs at 1/8, 1/16 and 1/32.

    fc6 is a 3x3 convolution with dilation 3, decimated from the classifier's 7x7 (Liu et al. 2016, section 3.1), fc7 a
    1x1 convolution. Layers are numbered as in torchvision's `features`; fc6 and fc7 follow them.

    Args:
        base_channels: channels of the first group; 64 in the published network. Those of the other layers follow it.
        norm: batch normalization after each convolution, as in torchvision's vgg16_bn; None: none, as published.

    Attributes:
        out_channels: channels of conv4_3, conv5_3 and fc7.
    """

    def __init__(self, base_channels: int = 64, norm: Norm | None = None) -> None:
        super().__init__()
        layers: list[nn.Cell] = []
        steps: list[nn.Cell] = []
        outputs, channels = [], 3

        def add(width: int, kernel_size: int, dilation: int = 1) -> None:
            conv = conv2d(channels, width, kernel_size, has_bias=True, dilation=dilation)
            norm_layer = None if norm is None else build_norm(norm, width)
            act = nn.ReLU()
            layers.extend(layer for layer in (conv, norm_layer, act) if layer is not None)
            steps.append(ConvNormAct(conv, norm_layer, act, auto_prefix=False))

        def pool(ceil: bool) -> None:
            layers.append(MaxPool2d(2, 2, ceil=ceil))
            steps.append(layers[-1])

        for group, (convolutions, factor) in enumerate(VGG16_GROUPS):
            for _ in range(convolutions):
                add(factor * base_channels, 3)
                channels = factor * base_channels
            if group >= len(VGG16_GROUPS) - 2:
                outputs.append(len(steps) - 1)
            pool(ceil=group == CEILING_POOL)
        add(VGG16_FC_FACTOR * base_channels, 3, FC6_DILATION)
        channels = VGG16_FC_FACTOR * base_channels
        add(channels, 1)
        outputs.append(len(steps) - 1)
        self.features = nn.CellList(layers)  # for their names
        self.steps = tuple(steps)  # what runs one after the other
        self.outputs = tuple(outputs)
        self.out_channels = (8 * base_channels, 8 * base_channels, channels)

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """`images` [B,3,H,W], sides multiples of 32 -> (conv4_3, conv5_3, fc7), [B,C,H/s,W/s] with s = 8, 16, 32."""
        x = images
        levels: tuple[Tensor, ...] = ()
        for i in range(len(self.steps)):
            x = self.steps[i](x)
            if i in self.outputs:
                levels = levels + (x,)
        return levels

    def recompute_blocks(self) -> None:
        """See `RecomputesBlocks`; the blocks are the layers between poolings and outputs."""
        steps: list[nn.Cell] = []
        outputs: list[int] = []
        block: list[nn.Cell] = []
        for i, step in enumerate(self.steps):
            pools, is_output = isinstance(step, MaxPool2d), i in self.outputs
            if not pools:
                block.append(step)
            if block and (pools or is_output):
                steps.append(recomputed_chain(block))
                block = []
            if pools:
                steps.append(step)
            if is_output:
                outputs.append(len(steps) - 1)
        self.steps, self.outputs = tuple(steps), tuple(outputs)
