"""What follows a convolution in nearly every block: normalization, a shortcut's sum, activation."""

from mindspore import Tensor, nn

from src.ops.batch_norm import BatchNorm2d


def conv_norm_act(
    conv: nn.Cell, norm: nn.Cell | None, act: nn.Cell | None, x: Tensor, shortcut: Tensor | None = None
) -> Tensor:
    """act(norm(conv(x)) + shortcut), where None stands for nothing.

    Args:
        conv: the convolution.
        norm: its normalization.
        act: activation.
        x: [B,C,H,W].
        shortcut: what is added before the activation, of the result's shape.
    """
    x = conv(x)
    if isinstance(norm, BatchNorm2d) and isinstance(act, nn.ReLU):
        return norm(x, shortcut, True)
    if norm is not None:
        x = norm(x)
    if shortcut is not None:
        x = x + shortcut
    return x if act is None else act(x)


class ConvNormAct(nn.Cell):
    """`conv_norm_act` of layers that have their names from elsewhere."""

    def __init__(self, conv: nn.Cell, norm: nn.Cell | None, act: nn.Cell | None) -> None:
        super().__init__(auto_prefix=False)
        self.conv, self.norm, self.act = conv, norm, act

    def construct(self, x: Tensor) -> Tensor:
        """`x` [B,C,H,W] -> what the convolution's shape is."""
        return conv_norm_act(self.conv, self.norm, self.act, x)
