"""ResNet (He et al. 2016, arXiv:1512.03385) and ResNeXt (Xie et al. 2017, arXiv:1611.05431), named as torchvision's."""

from collections.abc import Sequence
from typing import Any

from mindspore import Tensor, nn, ops

from src.blocks.architectures import RESNET_STAGES, has_bottlenecks
from src.blocks.backbones.recompute import recompute_residual_blocks
from src.blocks.backbones.residual import BasicBlock, Block, BlockOptions, Bottleneck, block_group
from src.blocks.initialization import kaiming_fan_out
from src.blocks.layers import ConvNormAct, MaxPool2d, Norm, build_norm, conv2d

STEM_CHANNELS = 64
RESNET_NORM = Norm(momentum=0.1, eps=1e-5)


class ResNet(nn.Cell):
    """A 7x7 stem and up to four stages at 1/4, 1/8, 1/16 and 1/32 of the image; the stride is in the 3x3 convolution.

    Args:
        depth: 18 or 34 (basic blocks); 50, 101 or 152 (bottlenecks).
        num_stages: stages to build, 1 to 4.
        out_indices: stages whose outputs are returned, from 0.
        frozen_stages: parameters that do not train and batch normalizations that keep their statistics: -1 none, 0 the
            stem's, n the stem's and the first n stages'.
        norm_eval: use the stored statistics in training everywhere; gammas and betas outside frozen stages train.
        groups: groups of the 3x3 convolutions, 1 for ResNet.
        base_width: channels per group in the first stage; of no meaning with one group.
        base_channels: channels of the stem; those of the stages follow it. 64 in all published networks.
        stage_blocks: blocks of each stage; None: the depth's.
        norm: the normalization.
        zero_init_residual: start with a zero gamma in the last normalization of each residual branch.

    Attributes:
        out_channels: channels of each output.

    Raises:
        ValueError: the arguments contradict each other.
    """

    def __init__(
        self,
        depth: int = 50,
        num_stages: int = 4,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        groups: int = 1,
        base_width: int = 4,
        base_channels: int = STEM_CHANNELS,
        stage_blocks: Sequence[int] | None = None,
        norm: Norm = RESNET_NORM,
        zero_init_residual: bool = True,
    ) -> None:
        super().__init__()
        block: type[Block] = Bottleneck if has_bottlenecks(depth) else BasicBlock
        repeats = tuple(stage_blocks or RESNET_STAGES[depth])
        _check(depth, num_stages, out_indices, frozen_stages, groups, len(repeats))
        norm = norm._replace(stored_statistics=norm.stored_statistics or norm_eval)

        def norm_of(part: int) -> Norm:  # 0 is the stem
            return norm._replace(frozen=norm.frozen or part <= frozen_stages)

        self.conv1 = conv2d(3, base_channels, 7, 2, weight_init=kaiming_fan_out)
        self.bn1 = build_norm(norm_of(0), base_channels)
        self.relu = nn.ReLU()
        self.stem = (ConvNormAct(self.conv1, self.bn1, self.relu, auto_prefix=False),)
        self.maxpool = MaxPool2d(3, 2, margin=1)
        stages, channels = [], base_channels
        for i in range(num_stages):
            planes = base_channels * 2**i
            options = BlockOptions(norm_of(i + 1), "relu", zero_init_residual, kaiming_fan_out)
            grouped = {}
            if groups > 1:
                grouped = {"groups": groups, "inner_channels": base_width * planes // base_channels * groups}
            stage = block_group(block, channels, planes, repeats[i], options, 1 if i == 0 else 2, **grouped)
            setattr(self, f"layer{i + 1}", stage)
            stages.append(stage)
            channels = planes * block.expansion
        self.stages = tuple(stages)
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(base_channels * 2**i * block.expansion for i in self.out_indices)
        self.frozen_stages = frozen_stages
        if frozen_stages >= 0:
            for cell in (self.conv1, *self.stages[:frozen_stages]):
                for parameter in cell.get_parameters():
                    parameter.requires_grad = False

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """`images` [B,3,H,W], sides multiples of 4 -> tuple of [B,C,H/s,W/s] with s = 4, 8, 16, 32 of `out_indices`."""
        x = self.maxpool(self.stem[0](images))
        outputs: tuple[Tensor, ...] = ()
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i + 1 == self.frozen_stages:
                x = ops.stop_gradient(x)
            if i in self.out_indices:
                outputs = outputs + (x,)
        return outputs

    def recompute_blocks(self) -> None:
        """See `RecomputesBlocks`."""
        recompute_residual_blocks(self)


class ResNeXt(ResNet):
    """ResNet whose 3x3 convolutions have groups; by default ResNeXt-101-64x4d.

    Args:
        depth: 50, 101 or 152.
        groups: number of groups.
        base_width: channels per group in the first stage.
        options: the other arguments of `ResNet`.
    """

    def __init__(self, depth: int = 101, groups: int = 64, base_width: int = 4, **options: Any) -> None:
        super().__init__(depth, groups=groups, base_width=base_width, **options)


def _check(
    depth: int, num_stages: int, out_indices: Sequence[int], frozen_stages: int, groups: int, stages_known: int
) -> None:
    if not 1 <= num_stages <= stages_known:
        raise ValueError(f"num_stages is {num_stages}, the network has 1 to {stages_known}")
    if not out_indices or list(out_indices) != sorted(set(out_indices)):
        raise ValueError(f"out_indices are {list(out_indices)}: they must rise")
    if out_indices[0] < 0 or out_indices[-1] >= num_stages:
        raise ValueError(f"out_indices are {list(out_indices)}, the stages 0 to {num_stages - 1}")
    if not -1 <= frozen_stages <= num_stages:
        raise ValueError(f"frozen_stages is {frozen_stages}: -1 (none) to {num_stages} (all)")
    if groups > 1 and not has_bottlenecks(depth):
        raise ValueError(f"depth {depth} has basic blocks, which have no groups; 50, 101 and 152 have bottlenecks")
