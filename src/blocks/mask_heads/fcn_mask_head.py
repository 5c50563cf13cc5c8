"""Mask head of convolutions (He et al. 2017, arXiv:1703.06870), named as mmdetection's FCNMaskHead."""

from mindspore import Parameter, nn, ops
from mindspore.common.initializer import initializer

from src.blocks.initialization import kaiming_fan_out
from src.blocks.layers import ConvModule, PointwiseConvolution, conv2d


class Upsample2x2(nn.Cell):
    """Transposed convolution with kernel 2 and stride 2, whose four output pixels of an input pixel stay apart.

    As the kernels do not overlap it is a 1x1 convolution to four times the channels. Pointwise layers may follow
    before `interleave` puts the pixels in their places.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        # As PyTorch's ConvTranspose2d has it.
        self.weight = Parameter(initializer(kaiming_fan_out(), (in_channels, out_channels, 2, 2)), name="weight")
        self.bias = Parameter(initializer("zeros", (out_channels,)), name="bias")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.convolve = PointwiseConvolution()

    def construct(self, x):
        """x [R,in_channels,H,W] -> [R*4,out_channels,H,W]; the four are (0,0), (0,1), (1,0), (1,1) as (y, x)."""
        regions, _, height, width = x.shape
        kernel = self.weight.transpose(2, 3, 1, 0).reshape(4 * self.out_channels, self.in_channels, 1, 1)
        x = self.convolve(x, kernel)
        return ops.bias_add(x.reshape(regions * 4, self.out_channels, height, width), self.bias)


def interleave(x):
    """x [R*4,C,H,W] of `Upsample2x2` -> [R,C,2*H,2*W]."""
    parts, channels, height, width = x.shape
    x = x.reshape(parts // 4, 2, 2, channels, height, width).transpose(0, 3, 4, 1, 5, 2)
    return x.reshape(parts // 4, channels, 2 * height, 2 * width)


class FCNMaskHead(nn.Cell):
    """3x3 convolutions, a transposed convolution to twice the size, and a 1x1 convolution to a mask a class.

    Args:
        num_convs: number of 3x3 convolutions.
        in_channels: channels C of a region's features.
        conv_out_channels: channels of the convolutions and of the transposed one.
        num_classes: number of foreground classes K.
    """

    def __init__(self, num_convs: int = 4, in_channels: int = 256, conv_out_channels: int = 256, num_classes: int = 80):
        super().__init__()
        widths = [in_channels] + [conv_out_channels] * num_convs
        self.convs = nn.CellList(
            [ConvModule(widths[i], widths[i + 1], 3, norm=None, weight_init=kaiming_fan_out) for i in range(num_convs)]
        )
        self.upsample = Upsample2x2(widths[-1], conv_out_channels)
        self.conv_logits = conv2d(conv_out_channels, num_classes, 1, has_bias=True, weight_init=kaiming_fan_out)
        self.relu = nn.ReLU()

    def construct(self, x):
        """x [R,C,S,S], features of regions -> mask logits [R,K,2*S,2*S]."""
        return interleave(self.conv_logits(self._upsampled(x)))

    def class_logits(self, x, labels):
        """Mask logits of one class a region, without computing those of the others.

        Args:
            x: [R,C,S,S], features of the regions.
            labels: int32 [R], 0..K-1.

        Returns:
            [R,2*S,2*S].
        """
        x = self._upsampled(x)
        parts, channels, height, width = x.shape
        regions = parts // 4
        weight = ops.gather(self.conv_logits.weight.reshape(-1, channels), labels, 0).reshape(regions, 1, 1, channels)
        weight = ops.broadcast_to(weight, (regions, 4, 1, channels)).reshape(parts, 1, channels)
        logits = ops.bmm(weight, x.reshape(parts, channels, height * width)).reshape(regions, 4, height * width)
        logits = logits + ops.gather(self.conv_logits.bias, labels, 0).reshape(regions, 1, 1)
        return interleave(logits.reshape(parts, 1, height, width))[:, 0]

    def _upsampled(self, x):
        """x [R,C,S,S] -> [R*4,conv_out_channels,S,S], see `Upsample2x2`."""
        for conv in self.convs:
            x = conv(x)
        return self.relu(self.upsample(x))
