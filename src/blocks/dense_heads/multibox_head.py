"""SSD's predictors (Liu et al. 2016, arXiv:1512.02325), of which RefineDet has two sets: its ARM and its ODM."""

from collections.abc import Sequence

from mindspore import Tensor, nn, ops

from src.blocks.backbones.residual import BlockOptions, Bottleneck
from src.blocks.initialization import kaiming_fan_out, xavier_uniform
from src.blocks.layers import Norm, conv2d
from src.ops.precision import in_float32

BLOCK_PLANES = 256


class MultiBoxHead(nn.Cell):
    """A 3x3 convolution to box deltas and one to class scores, for each level its own.

    Args:
        in_channels: channels of each level.
        num_anchors: anchors A per position.
        num_outputs: scores C per anchor, the background's included and first.
        block_norm: normalization of a residual block of 1024 channels before each level's predictors (as DSSD has
            them); None: no such blocks.
    """

    def __init__(
        self, in_channels: Sequence[int], num_anchors: int, num_outputs: int, block_norm: Norm | None = None
    ) -> None:
        super().__init__()
        self.blocks = None
        if block_norm is not None:
            self.blocks = nn.CellList([_block(channels, block_norm) for channels in in_channels])
            in_channels = [BLOCK_PLANES * Bottleneck.expansion] * len(in_channels)

        def convs(width: int) -> nn.CellList:
            return nn.CellList(
                [conv2d(c, num_anchors * width, 3, has_bias=True, weight_init=xavier_uniform) for c in in_channels]
            )

        self.loc_convs = convs(4)
        self.conf_convs = convs(num_outputs)
        self.num_outputs = num_outputs

    def construct(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Predictions of all levels.

        Args:
            levels: tuple of [B,C,H,W], finest first.

        Returns:
            Box deltas [B,P,4] and scores before softmax [B,P,C], float32; P runs over levels, rows, columns and
            anchors.
        """
        deltas: tuple[Tensor, ...] = ()
        scores: tuple[Tensor, ...] = ()
        for i in range(len(levels)):
            x = levels[i] if self.blocks is None else self.blocks[i](levels[i])
            deltas = deltas + (_rows(self.loc_convs[i](x), 4),)
            scores = scores + (_rows(self.conf_convs[i](x), self.num_outputs),)
        return ops.concat(deltas, 1), ops.concat(scores, 1)


def _block(channels: int, norm: Norm) -> Bottleneck:
    # A shortcut of equal width would be the identity; the published block has a convolution there always, but no level
    # has these 1024 channels except C4.
    return Bottleneck(channels, BLOCK_PLANES, BlockOptions(norm, weight_init=kaiming_fan_out))


def _rows(x: Tensor, width: int) -> Tensor:
    """[B,A*width,H,W] -> float32 [B,H*W*A,width]."""
    return in_float32(x).transpose(0, 2, 3, 1).reshape(x.shape[0], -1, width)
