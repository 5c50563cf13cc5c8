"""Feature pyramid network (Lin et al. 2017, arXiv:1612.03144), named as mmdetection's."""

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from src.blocks.initialization import xavier_uniform
from src.blocks.layers import ConvModule, MapSum


class FPN(nn.Cell):
    """1x1 lateral convolutions, sums from coarse to fine, a 3x3 convolution per level, then levels of half the size.

    Args:
        in_channels: channels of each feature map, finest first.
        out_channels: channels of every level.
        num_outs: number of levels; those beyond the feature maps take every other pixel of the level before.

    Raises:
        ValueError: `num_outs` is less than the number of feature maps.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256, num_outs: int = 5) -> None:
        super().__init__()
        if num_outs < len(in_channels):
            raise ValueError(f"num_outs is {num_outs}, but there are {len(in_channels)} feature maps")
        self.num_ins = len(in_channels)
        self.num_outs = num_outs

        def conv(channels: int, kernel_size: int) -> ConvModule:
            return ConvModule(channels, out_channels, kernel_size, norm=None, act="none", weight_init=xavier_uniform)

        self.lateral_convs = nn.CellList([conv(channels, 1) for channels in in_channels])
        self.fpn_convs = nn.CellList([conv(out_channels, 3) for _ in in_channels])
        self.sum = MapSum()

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Levels of a pyramid.

        Args:
            features: tuple of [B,C,H,W], finest first; each has half the size of the one before, rounded up.

        Returns:
            Tuple of `num_outs` maps [B,out_channels,H,W], finest first.
        """
        merged = self.lateral_convs[self.num_ins - 1](features[self.num_ins - 1])
        levels: tuple[Tensor, ...] = (self.fpn_convs[self.num_ins - 1](merged),)
        for i in range(self.num_ins - 2, -1, -1):
            merged = self.sum(self.lateral_convs[i](features[i]), merged)
            levels = (self.fpn_convs[i](merged),) + levels
        for _ in range(self.num_ins, self.num_outs):
            # Pynative mode on the CPU cannot differentiate `[:, :, ::2]` (StridedSliceGrad: out of bounds).
            last = levels[-1]
            levels = levels + (ops.strided_slice(last, (0, 0, 0, 0), last.shape, (1, 1, 2, 2)),)
        return levels
