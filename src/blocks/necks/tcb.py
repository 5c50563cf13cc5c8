"""Transfer connection blocks of RefineDet (Zhang et al. 2018, arXiv:1711.06897, section 3.1, figure 2)."""

from collections.abc import Sequence

from mindspore import Tensor, nn

from src.blocks.initialization import xavier_uniform
from src.blocks.layers import ConvModule, ConvNormAct, Norm, Upsample2x2, build_norm, interleave


class TCB(nn.Cell):
    """Turns one level's features into those of the object detection module, with the next coarser level's added.

    Args:
        in_channels: channels of the level.
        out_channels: channels of the output.
        has_coarser: whether there is a coarser level.
        norm: batch normalization after each convolution (the ResNet variants'); None: biases.
    """

    def __init__(self, in_channels: int, out_channels: int, has_coarser: bool, norm: Norm | None) -> None:
        super().__init__()

        def conv(channels: int, act: str) -> ConvModule:
            return ConvModule(channels, out_channels, 3, norm=norm, act=act, weight_init=xavier_uniform)

        self.conv1 = conv(in_channels, "relu")
        self.conv2 = conv(out_channels, "none")
        self.conv3 = conv(out_channels, "relu")
        self.upsample = _Upsample(out_channels, norm) if has_coarser else None
        self.relu = nn.ReLU()
        self.steps = (ConvNormAct(self.conv2.conv, self.conv2.bn, self.relu, auto_prefix=False),)

    def construct(self, x: Tensor, coarser: Tensor | None = None) -> Tensor:
        """`x` [B,in_channels,H,W], coarser [B,out_channels,H/2,W/2] or None -> [B,out_channels,H,W]."""
        x = self.conv1(x)
        x = self.steps[0](x) if self.upsample is None else self.steps[0].with_shortcut(x, self.upsample(coarser))
        return self.conv3(x)


class _Upsample(nn.Cell):
    """Transposed convolution with kernel 2 and stride 2, and its normalization."""

    def __init__(self, channels: int, norm: Norm | None) -> None:
        super().__init__()
        self.deconv = Upsample2x2(channels, channels, has_bias=norm is None, weight_init=xavier_uniform)
        self.bn = nn.Identity() if norm is None else build_norm(norm, channels)

    def construct(self, x: Tensor) -> Tensor:
        return self.bn(interleave(self.deconv(x)))


class TransferConnections(nn.Cell):
    """A `TCB` for each level, from the coarsest to the finest.

    Args:
        in_channels: channels of each level, finest first; each level has half the size of the one before.
        out_channels: channels of every output.
        norm: as in `TCB`.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256, norm: Norm | None = None) -> None:
        super().__init__()
        last = len(in_channels) - 1
        self.blocks = nn.CellList([TCB(c, out_channels, i < last, norm) for i, c in enumerate(in_channels)])

    def construct(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Tuple of [B,C,H,W] -> tuple of [B,out_channels,H,W], finest first."""
        outputs: tuple[Tensor, ...] = ()
        coarser = None
        for i in range(len(levels) - 1, -1, -1):
            coarser = self.blocks[i](levels[i], coarser)
            outputs = (coarser,) + outputs
        return outputs
