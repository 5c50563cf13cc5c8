"""NAS-FPN (Ghiasi et al. 2019, arXiv:1904.07392): the pyramid found by architecture search, named as mmdetection's."""

from collections.abc import Sequence

from mindspore import Tensor, nn

from src.blocks.initialization import lecun_uniform
from src.blocks.layers import ConvModule, DownsampleMax, Norm
from src.blocks.necks.merge_cells import GlobalPoolingCell, SumCell

NUM_LEVELS = 5  # the cell that the search found merges P3 to P7
NAS_FPN_NORM = Norm(momentum=0.1, eps=1e-5)


class NASFPNStage(nn.Cell):
    """One cell of the pyramid (figure 6 of the paper): seven merges with a convolution, two without.

    Args:
        channels: channels of every level.
        norm: the normalization.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.gp_64_4 = GlobalPoolingCell(channels, norm)
        self.sum_44_4 = SumCell(channels, norm)
        self.sum_43_3 = SumCell(channels, norm)
        self.sum_34_4 = SumCell(channels, norm)
        self.gp_43_5 = GlobalPoolingCell(channels, norm, with_out_conv=False)
        self.sum_55_5 = SumCell(channels, norm)
        self.gp_54_7 = GlobalPoolingCell(channels, norm, with_out_conv=False)
        self.sum_77_7 = SumCell(channels, norm)
        self.gp_75_6 = GlobalPoolingCell(channels, norm)

    def construct(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """P3 to P7, each half the size of the one before -> new P3 to P7 of the same shapes."""
        p3, p4, p5, p6, p7 = levels
        inner = self.gp_64_4(p6, p4, *p4.shape[2:])
        inner = self.sum_44_4(inner, p4, *p4.shape[2:])
        p3 = self.sum_43_3(inner, p3, *p3.shape[2:])
        p4 = self.sum_34_4(p3, inner, *p4.shape[2:])
        p5 = self.sum_55_5(p5, self.gp_43_5(p4, p3, *p5.shape[2:]), *p5.shape[2:])
        p7 = self.sum_77_7(p7, self.gp_54_7(p5, inner, *p7.shape[2:]), *p7.shape[2:])
        p6 = self.gp_75_6(p7, p5, *p6.shape[2:])
        return p3, p4, p5, p6, p7


class NASFPN(nn.Cell):
    """1x1 convolutions to one width, pooling for the levels that the backbone lacks, then a stack of cells.

    Args:
        in_channels: channels of each feature map that the backbone gives, finest first.
        out_channels: channels of every level.
        num_outs: number of levels, which is 5.
        stack_times: number of cells.
        start_level: first of the feature maps to use.
        end_level: last of them; -1: the backbone's last, after which further levels are pooled.
        norm: the normalization.

    Raises:
        ValueError: the levels do not fit each other.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (512, 1024, 2048),
        out_channels: int = 256,
        num_outs: int = NUM_LEVELS,
        stack_times: int = 7,
        start_level: int = 0,
        end_level: int = -1,
        norm: Norm = NAS_FPN_NORM,
    ) -> None:
        super().__init__()
        used = used_levels(len(in_channels), num_outs, start_level, end_level)
        self.first, self.last = used[0], used[-1]
        self.lateral_convs = nn.CellList([_pointwise(in_channels[level], out_channels, norm) for level in used])
        self.extra_downsamples = nn.CellList(
            [nn.CellList([_pointwise(out_channels, out_channels, norm)]) for _ in range(num_outs - len(used))]
        )
        self.downsample = DownsampleMax()
        self.fpn_stages = nn.CellList([NASFPNStage(out_channels, norm) for _ in range(stack_times)])

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Levels of the pyramid.

        Args:
            features: tuple of [B,C,H,W], finest first, each half the size of the one before; the sides of the finest
                one in use are multiples of 16, those of the image of 128.

        Returns:
            P3 to P7: five maps [B,out_channels,H,W], finest first.
        """
        levels: tuple[Tensor, ...] = ()
        for i, conv in enumerate(self.lateral_convs):
            levels = levels + (conv(features[self.first + i]),)
        for conv in self.extra_downsamples:
            levels = levels + (self.downsample(conv[0](levels[-1]), 2),)
        for stage in self.fpn_stages:
            levels = stage(levels)
        return levels


def used_levels(available: int, num_outs: int, start_level: int, end_level: int) -> range:
    """Indices of the feature maps that the pyramid reads.

    Raises:
        ValueError: what is wrong and what would be right.
    """
    if num_outs != NUM_LEVELS:
        raise ValueError(f"num_outs is {num_outs}; the cells of NAS-FPN merge {NUM_LEVELS} levels")
    end = available - 1 if end_level == -1 else end_level
    if not 0 <= start_level <= end < available:
        raise ValueError(
            f"start_level {start_level} and end_level {end_level} do not fit {available} feature maps"
            f" (0 to {available - 1}, -1 for the last)"
        )
    used = range(start_level, end + 1)
    if len(used) > num_outs or (end < available - 1 and len(used) < num_outs):
        raise ValueError(f"levels {start_level} to {end} are {len(used)} feature maps for {num_outs} levels")
    return used


def _pointwise(in_channels: int, out_channels: int, norm: Norm) -> ConvModule:
    return ConvModule(in_channels, out_channels, 1, norm=norm, act="none", weight_init=lecun_uniform)
