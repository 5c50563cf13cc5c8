"""The merging cells of NAS-FPN (Ghiasi et al. 2019, arXiv:1904.07392, section 3.1), named as mmcv's.

A cell brings two feature maps to one size, merges them, and runs ReLU, a 3x3 convolution and batch normalization. The
convolution has a bias as in published checkpoints, though the normalization after it takes the bias away.
"""

from mindspore import Tensor, nn, ops

from src.blocks.initialization import lecun_uniform
from src.blocks.layers import ConvModule, DownsampleMax, Norm, upsample_nearest
from src.ops.precision import in_float32, in_type


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


class SumCell(nn.Cell):
    """The sum of two maps, then ReLU, convolution, normalization.

    Args:
        channels: channels of both maps and of the result.
        norm: the normalization.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.resize = ResizeTo()
        self.out_conv = merging_convolution(channels, norm)

    def construct(self, first: Tensor, second: Tensor, height: int, width: int) -> Tensor:
        """first, second [B,C,*,*] -> [B,C,height,width]."""
        merged = self.resize(first, height, width) + self.resize(second, height, width)
        return self.out_conv(ops.relu(merged))


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
        self.out_conv = merging_convolution(channels, norm) if with_out_conv else None

    def construct(self, first: Tensor, second: Tensor, height: int, width: int) -> Tensor:
        """first, second [B,C,*,*] -> [B,C,height,width]."""
        first, second = self.resize(first, height, width), self.resize(second, height, width)
        attention = ops.sigmoid(in_float32(second).mean((2, 3), keep_dims=True))
        merged = second + in_type(attention, first.dtype) * first
        return merged if self.out_conv is None else self.out_conv(ops.relu(merged))
