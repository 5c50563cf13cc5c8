"""Region proposal network's head (Ren et al. 2015, arXiv:1506.01497), named as mmdetection's RPNHead."""

from mindspore import Tensor, nn
from mindspore.common.initializer import Initializer

from src.blocks.initialization import normal
from src.blocks.layers import ConvNormAct, conv2d
from src.ops.precision import in_float32

WEIGHT_STD = 0.01


def _weight_init() -> Initializer:
    return normal(WEIGHT_STD)


class RPNHead(nn.Cell):
    """A 3x3 convolution and two 1x1 convolutions, shared by the levels.

    Args:
        in_channels: channels of each level.
        feat_channels: channels of the 3x3 convolution.
        num_anchors: anchors A per position.
    """

    def __init__(self, in_channels: int = 256, feat_channels: int = 256, num_anchors: int = 3) -> None:
        super().__init__()

        def conv(channels: int, outputs: int, kernel_size: int) -> nn.Conv2d:
            return conv2d(channels, outputs, kernel_size, has_bias=True, weight_init=_weight_init)

        self.rpn_conv = conv(in_channels, feat_channels, 3)
        self.rpn_cls = conv(feat_channels, num_anchors, 1)
        self.rpn_reg = conv(feat_channels, num_anchors * 4, 1)
        self.relu = nn.ReLU()
        self.steps = (ConvNormAct(self.rpn_conv, None, self.relu, auto_prefix=False),)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Predictions of each level.

        Args:
            features: tuple of [B,in_channels,H,W], one per level.

        Returns:
            Tuple of objectness logits [B,A,H,W] and tuple of box deltas [B,4*A,H,W], float32; anchor before coordinate.
        """
        logits: tuple[Tensor, ...] = ()
        deltas: tuple[Tensor, ...] = ()
        for feature in features:
            x = self.steps[0](feature)
            logits = logits + (in_float32(self.rpn_cls(x)),)
            deltas = deltas + (in_float32(self.rpn_reg(x)),)
        return logits, deltas
