"""RetinaNet's head with batch normalization per level, named as mmdetection's RetinaSepBNHead."""

from typing import NamedTuple

from mindspore import Tensor, nn

from src.blocks.initialization import bias_for_probability, normal
from src.blocks.layers import DEFAULT_NORM, Conv2d, ConvNormAct, Norm, build_activation, build_norm
from src.ops.precision import in_float32

OUTPUT_STD = 0.01


class SharedConv(nn.Cell):
    """The convolution of a stage with the normalization of one level: `conv` exists at level 0 only.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        norm: the normalization.
        act: activation.
        has_conv: whether this level holds the convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, act: str, has_conv: bool) -> None:
        super().__init__()
        self.conv = _conv(in_channels, out_channels) if has_conv else None
        self.bn = build_norm(norm, out_channels)
        self.act = build_activation(act)

    def step(self, conv: nn.Cell) -> ConvNormAct:
        """The stage at this level, by the convolution of the first."""
        return ConvNormAct(conv, self.bn, self.act, auto_prefix=False)


def _conv(in_channels: int, out_channels: int, bias: float | None = None) -> Conv2d:
    return Conv2d(
        in_channels,
        out_channels,
        3,
        pad_mode="pad",
        padding=1,
        has_bias=bias is not None,
        weight_init=normal(OUTPUT_STD),
        bias_init=0.0 if bias is None else bias,
    )


def _steps(levels: nn.CellList) -> tuple[tuple[ConvNormAct, ...], ...]:
    """What a branch does at each level."""
    return tuple(
        tuple(stage.step(first.conv) for stage, first in zip(stages, levels[0], strict=True)) for stages in levels
    )


class BranchOptions(NamedTuple):
    """The convolutions of a branch.

    Attributes:
        feat_channels: their channels.
        stacked_convs: their number.
        norm: the normalization after each.
        act: activation.
    """

    feat_channels: int = 256
    stacked_convs: int = 4
    norm: Norm = DEFAULT_NORM
    act: str = "relu"


DEFAULT_BRANCH = BranchOptions()


class RetinaSepBNHead(nn.Cell):
    """Two branches of convolutions shared by the levels, each followed by a normalization of its level.

    Args:
        num_classes: number of foreground classes K.
        num_levels: number of levels.
        num_anchors: anchors A per position.
        in_channels: channels of each level.
        options: the convolutions of both branches.
        prior_prob: probability of each class that the output starts with.
    """

    def __init__(
        self,
        num_classes: int,
        num_levels: int = 5,
        num_anchors: int = 9,
        in_channels: int = 256,
        options: BranchOptions = DEFAULT_BRANCH,
        prior_prob: float = 0.01,
    ) -> None:
        super().__init__()
        feat_channels, stacked_convs, norm, act = options

        def branch() -> nn.CellList:
            widths = [in_channels] + [feat_channels] * stacked_convs
            return nn.CellList(
                [
                    nn.CellList(
                        [
                            SharedConv(widths[i], widths[i + 1], norm, act, has_conv=level == 0)
                            for i in range(stacked_convs)
                        ]
                    )
                    for level in range(num_levels)
                ]
            )

        self.num_levels = num_levels
        self.stacked_convs = stacked_convs
        self.cls_convs = branch()
        self.reg_convs = branch()
        self.cls_steps, self.reg_steps = _steps(self.cls_convs), _steps(self.reg_convs)
        self.retina_cls = _conv(feat_channels, num_anchors * num_classes, bias_for_probability(prior_prob))
        self.retina_reg = _conv(feat_channels, num_anchors * 4, 0.0)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Predictions of each level.

        Args:
            features: tuple of [B,in_channels,H,W], one per level.

        Returns:
            Tuple of class logits [B,A*K,H,W] and tuple of box deltas [B,A*4,H,W], float32; anchor before class or
            coordinate.
        """
        logits: tuple[Tensor, ...] = ()
        deltas: tuple[Tensor, ...] = ()
        for level in range(self.num_levels):
            logits = logits + (in_float32(self.retina_cls(self._branch(self.cls_steps, level, features[level]))),)
            deltas = deltas + (in_float32(self.retina_reg(self._branch(self.reg_steps, level, features[level]))),)
        return logits, deltas

    def _branch(self, steps: tuple[tuple[ConvNormAct, ...], ...], level: int, x: Tensor) -> Tensor:
        for i in range(self.stacked_convs):
            x = steps[level][i](x)
        return x
