"""The merging cells of NAS-FPN (Ghiasi et al. 2019, arXiv:1904.07392, section 3.1), named as mmcv's.

A cell brings two feature maps to one size, merges them, and runs ReLU, a 3x3 convolution and batch normalization. The
convolution has a bias as in published checkpoints, though the normalization after it takes the bias away.
"""

from mindspore import Tensor, nn

from src.blocks.initialization import lecun_uniform
from src.blocks.layers import AttentionSum, ConvModule, DownsampleMax, MapSum, Norm, upsample_nearest


def merging_convolution(channels: int, norm: Norm) -> ConvModule:
    """What follows the ReLU of a merging cell."""
    return ConvModule(channels, channels, 3, norm=norm, act="none", weight_init=lecun_uniform, has_bias=True)


class ResizeTo(nn.Cell):
    """Brings a map to a size by whole factors: nearest neighbors up, maxima down."""

    def __init__(self) -> None:
        super().__init__()
        self.downsample = DownsampleMax()

    def construct(self, x: Tensor, height: int, width: int) -> Tensor:
        """`x` [B,C,H,W] -> [B,C,height,width].

        Raises:
            ValueError: neither size divides the other, or not by a factor of `DownsampleMax`.
        """
        rows, columns = x.shape[2:]
        if height >= rows:
            if height % rows or width * rows != columns * height:
                raise ValueError(f"a map of {rows} x {columns} cannot be repeated to {height} x {width}")
            return upsample_nearest(x, height // rows)
        if rows % height or width * rows != columns * height:
            raise ValueError(f"a map of {rows} x {columns} cannot be pooled to {height} x {width}")
        return self.downsample(x, rows // height)

    def down(self, x: Tensor, height: int, width: int) -> Tensor:
        """`construct` where `x` is larger; else `x` itself, whose pixels a sum can repeat."""
        return self.construct(x, height, width) if x.shape[2] > height else x


class SumCell(nn.Cell):
    """The sum of two maps, then ReLU, convolution, normalization.

    Args:
        channels: channels of both maps and of the result.
        norm: the normalization.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.resize = ResizeTo()
        self.sum = MapSum(relu=True)
        self.out_conv = merging_convolution(channels, norm)

    def construct(self, first: Tensor, second: Tensor, height: int, width: int) -> Tensor:
        """first, second [B,C,*,*] -> [B,C,height,width]."""
        merged = self.sum(self.resize.down(first, height, width), self.resize.down(second, height, width))
        return self.out_conv(self.resize(merged, height, width))


class GlobalPoolingCell(nn.Cell):
    """Second map + sigmoid(mean of each channel of the second map) x first map, then as in `SumCell`.

    Args:
        channels: channels of both maps and of the result.
        norm: the normalization.
        with_out_conv: False: the merged map itself is the result.
    """

    def __init__(self, channels: int, norm: Norm, with_out_conv: bool = True) -> None:
        super().__init__()
        self.resize = ResizeTo()
        self.sum = AttentionSum(relu=with_out_conv)
        self.out_conv = merging_convolution(channels, norm) if with_out_conv else None

    def construct(self, first: Tensor, second: Tensor, height: int, width: int) -> Tensor:
        """first, second [B,C,*,*] -> [B,C,height,width]."""
        merged = self.sum(self.resize(second, height, width), self.resize.down(first, height, width))
        return merged if self.out_conv is None else self.out_conv(merged)
