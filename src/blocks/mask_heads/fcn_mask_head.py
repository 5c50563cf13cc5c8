"""Mask head of convolutions (He et al. 2017, arXiv:1703.06870), named as mmdetection's FCNMaskHead."""

from mindspore import Tensor, nn, ops

from src.blocks.initialization import kaiming_fan_out
from src.blocks.layers import ConvModule, Upsample2x2, conv2d, interleave
from src.ops.precision import in_float32


class FCNMaskHead(nn.Cell):
    """3x3 convolutions, a transposed convolution to twice the size, and a 1x1 convolution to a mask per class.

    Args:
        num_convs: number of 3x3 convolutions.
        in_channels: channels C of a region's features.
        conv_out_channels: channels of the convolutions and of the transposed one.
        num_classes: number of foreground classes K.
    """

    def __init__(
        self, num_convs: int = 4, in_channels: int = 256, conv_out_channels: int = 256, num_classes: int = 80
    ) -> None:
        super().__init__()
        widths = [in_channels] + [conv_out_channels] * num_convs
        self.convs = nn.CellList(
            [ConvModule(widths[i], widths[i + 1], 3, norm=None, weight_init=kaiming_fan_out) for i in range(num_convs)]
        )
        self.upsample = Upsample2x2(widths[-1], conv_out_channels)
        self.conv_logits = conv2d(conv_out_channels, num_classes, 1, has_bias=True, weight_init=kaiming_fan_out)

    def construct(self, x: Tensor) -> Tensor:
        """`x` [R,C,S,S], features of regions -> mask logits float32 [R,K,2*S,2*S]."""
        return interleave(in_float32(self.conv_logits(self._upsampled(x))))

    def class_logits(self, x: Tensor, labels: Tensor, present: Tensor | None = None) -> Tensor:
        """Mask logits of one class per region, without computing those of the others.

        Args:
            x: [R,C,S,S], features of the regions.
            labels: int32 [R], 0..K-1.
            present: int32 [1], the number of regions that count: nobody reads the logits of those after them, which are
                left out where that is faster, in gradients too. None: all.

        Returns:
            float32 [R,2*S,2*S].
        """
        # float32 as is the layer that is applied here, of one class
        x = in_float32(self._upsampled(x) if present is None else self._upsampled_of_present(x, present))
        parts, channels, height, width = x.shape
        regions = parts // 4
        weight = ops.gather(self.conv_logits.weight.reshape(-1, channels), labels, 0).reshape(regions, 1, 1, channels)
        weight = ops.broadcast_to(weight, (regions, 4, 1, channels)).reshape(parts, 1, channels)
        logits = ops.bmm(weight, x.reshape(parts, channels, height * width)).reshape(regions, 4, height * width)
        logits = logits + ops.gather(self.conv_logits.bias, labels, 0).reshape(regions, 1, 1)
        return interleave(logits.reshape(parts, 1, height, width))[:, 0]

    def _upsampled(self, x: Tensor) -> Tensor:
        """`x` [R,C,S,S] -> [R*4,conv_out_channels,S,S], see `Upsample2x2`."""
        for conv in self.convs:
            x = conv(x)
        return self.upsample.with_relu(x)

    def _upsampled_of_present(self, x: Tensor, present: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv.of_present(x, present)
        return self.upsample.with_relu_of_present(x, present)
