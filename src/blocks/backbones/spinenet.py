"""SpineNet: a backbone whose blocks have permuted scales (Du et al. 2020, arXiv:1912.05027).

Parameter names and the way of downsampling are those of the public PyTorch port, so that its checkpoints load.
"""

from typing import NamedTuple

from mindspore import Tensor, nn

from src.blocks.architectures import SPINENET_LEVELS, SPINENET_SCALINGS
from src.blocks.backbones.recompute import recompute_residual_blocks
from src.blocks.backbones.residual import BasicBlock, Block, BlockOptions, Bottleneck, block_group
from src.blocks.layers import (
    ACTIVATION_FLOORS,
    ACTIVATIONS,
    DEFAULT_NORM,
    ConvModule,
    MapSum,
    MaxPool2d,
    Norm,
)

FILTERS = {2: 64, 3: 128, 4: 256, 5: 256, 6: 256, 7: 256}  # by level, before the width factor
STEM_CHANNELS = 64


class BlockSpec(NamedTuple):
    """One block: its level (1/2**level of the image), kind, the two blocks it merges, and whether it is an output."""

    level: int
    block: type[Block]
    inputs: tuple[int, int]
    is_output: bool


# Table 1 of the paper; inputs count from the two level-2 blocks of the stem, which are 0 and 1.
BLOCK_SPECS = (
    BlockSpec(2, Bottleneck, (0, 1), False),
    BlockSpec(4, BasicBlock, (0, 1), False),
    BlockSpec(3, Bottleneck, (2, 3), False),
    BlockSpec(4, Bottleneck, (2, 4), False),
    BlockSpec(6, BasicBlock, (3, 5), False),
    BlockSpec(4, Bottleneck, (3, 5), False),
    BlockSpec(5, BasicBlock, (6, 7), False),
    BlockSpec(7, BasicBlock, (6, 8), False),
    BlockSpec(5, Bottleneck, (8, 9), False),
    BlockSpec(5, Bottleneck, (8, 10), False),
    BlockSpec(4, Bottleneck, (5, 10), True),
    BlockSpec(3, Bottleneck, (4, 10), True),
    BlockSpec(5, Bottleneck, (7, 12), True),
    BlockSpec(7, Bottleneck, (5, 14), True),
    BlockSpec(6, Bottleneck, (12, 14), True),
)


class Node(NamedTuple):
    """A block during construction: planes are its filters, channels its output."""

    level: int
    planes: int
    channels: int


class Resample(nn.Cell):
    """Brings one block's output to another block's level and channels (section 3.3).

    A 1x1 convolution to fewer channels; downwards a 3x3 convolution of stride 2 and one max pool for the rest; a 1x1
    convolution to the target's channels. Upwards nearest neighbours are left to `Merge`: repeated after the last
    convolution they have the same values at a quarter or less of the work.

    Args:
        source: the block that is read.
        target: the block that reads.
        alpha: share of the source's filters to work with.
        norm: the normalization.
        act: activation.

    Attributes:
        factor: how often rows and columns are to be repeated.
    """

    def __init__(self, source: Node, target: Node, alpha: float, norm: Norm, act: str) -> None:
        super().__init__()
        middle = int(source.planes * alpha)
        self.factor = 2 ** max(source.level - target.level, 0)
        stride = 2 ** max(target.level - source.level - 1, 0)
        self.pool = MaxPool2d(stride + 1, stride, stride // 2, ACTIVATION_FLOORS[act]) if stride > 1 else None
        self.squeeze_conv = ConvModule(source.channels, middle, 1, norm=norm, act=act)
        self.downsample_conv = None
        if target.level > source.level:
            self.downsample_conv = ConvModule(middle, middle, 3, stride=2, norm=norm, act=act)
        self.expand_conv = ConvModule(middle, target.channels, 1, norm=norm, act="none")

    def construct(self, x: Tensor) -> Tensor:
        """`x` [B,C,H,W] of the source -> [B,C',H',W'] at the target's level, or the source's if that is coarser."""
        x = self.squeeze_conv(x)
        if self.downsample_conv is not None:
            x = self.downsample_conv(x)
        if self.pool is not None:
            x = self.pool(x)
        return self.expand_conv(x)


class Merge(nn.Cell):
    """The activated sum of two resampled blocks and of further ones of the target's shape.

    Args:
        sources: the two blocks that are read, of which one at least is not coarser than the target.
        target: the block that reads.
        alpha, norm, act: as in `Resample`.
    """

    def __init__(self, sources: tuple[Node, Node], target: Node, alpha: float, norm: Norm, act: str) -> None:
        super().__init__()
        self.resample_ops = nn.CellList([Resample(source, target, alpha, norm, act) for source in sources])
        self.sum, self.last_sum = MapSum(), MapSum(relu=act == "relu")
        self.act = None if act == "relu" else ACTIVATIONS[act]()

    def construct(self, first: Tensor, second: Tensor, further: tuple[Tensor, ...]) -> Tensor:
        """Two feature maps and further ones -> one at the target's level."""
        x, last = self.resample_ops[0](first), self.resample_ops[1](second)
        for feature in further:
            x, last = self.sum(x, last), feature
        x = self.last_sum(x, last)
        return x if self.act is None else self.act(x)


class Endpoints(nn.Cell):
    """A 1x1 convolution and normalization per output level, named by the level.

    Args:
        channels: of the output block of each level, by level.
        out_channels: of all endpoints.
        norm: the normalization.
        act: `none`, `relu` or `swish`.
    """

    def __init__(self, channels: dict[int, int], out_channels: int, norm: Norm, act: str) -> None:
        super().__init__()
        modules = []
        for level in SPINENET_LEVELS:
            module = ConvModule(channels[level], out_channels, 1, norm=norm, act=act)
            self.insert_child_to_cell(str(level), module)
            modules.append(module)
        self.modules = tuple(modules)

    def construct(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Tuple of output blocks, finest first -> tuple of endpoints [B,out_channels,H/2**level,W/2**level]."""
        outputs: tuple[Tensor, ...] = ()
        for module, feature in zip(self.modules, features):  # noqa: B905 (a graph knows no `strict`)
            outputs = outputs + (module(feature),)
        return outputs


def unconsumed_merges(nodes: list[Node]) -> list[tuple[int, ...]]:
    """For each block after the stem, the same-shaped earlier blocks that nothing has read and that an output adds.

    Args:
        nodes: all blocks, the stem's two first.

    Returns:
        A tuple of block indices for each of BLOCK_SPECS.
    """
    readers = [0] * len(nodes)
    merges: list[tuple[int, ...]] = []
    for index, spec in enumerate(BLOCK_SPECS, start=2):
        for source in spec.inputs:
            readers[source] += 1
        extra: tuple[int, ...] = ()
        if spec.is_output:
            shape = (nodes[index].level, nodes[index].channels)
            extra = tuple(i for i in range(index) if readers[i] == 0 and (nodes[i].level, nodes[i].channels) == shape)
        for i in extra:
            readers[i] += 1
        merges.append(extra)
    return merges


class SpineNet(nn.Cell):
    """SpineNet with five endpoints at 1/8 to 1/128 of the image.

    Args:
        arch: `49S`, `49`, `96`, `143` or `190`.
        width: factor on the filters; None: the architecture's.
        out_channels: of each endpoint; None: the architecture's.
        block_repeats: residual blocks per scale-permuted block; None: the architecture's.
        norm: the normalization.
        act: activation inside, `relu` or `swish`.
        endpoint_act: activation after the endpoints: `none` in published PyTorch checkpoints, `relu` or `swish` in
            TensorFlow's.
        zero_init_residual: start with a zero gamma in the last normalization of each residual branch.
    """

    def __init__(
        self,
        arch: str = "49",
        width: float | None = None,
        out_channels: int | None = None,
        block_repeats: int | None = None,
        norm: Norm = DEFAULT_NORM,
        act: str = "relu",
        endpoint_act: str = "none",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        scaling = SPINENET_SCALINGS[arch]
        width = width or scaling.width
        repeats = block_repeats or scaling.repeats
        self.out_channels = out_channels or scaling.out_channels

        options = BlockOptions(norm, act, zero_init_residual)

        def group(block: type[Block], in_channels: int, planes: int) -> nn.SequentialCell:
            return block_group(block, in_channels, planes, repeats, options)

        def node(level: int, block: type[Block]) -> Node:
            planes = int(FILTERS[level] * width)
            return Node(level, planes, planes * block.expansion)

        stem = node(2, Bottleneck)
        nodes = [stem, stem] + [node(spec.level, spec.block) for spec in BLOCK_SPECS]
        self.conv1 = ConvModule(3, STEM_CHANNELS, 7, stride=2, norm=norm, act=act)
        self.init_block1 = group(Bottleneck, STEM_CHANNELS, stem.planes)
        self.init_block2 = group(Bottleneck, stem.channels, stem.planes)
        merges, blocks, channels = [], [], {}
        for spec, target in zip(BLOCK_SPECS, nodes[2:], strict=True):
            sources = (nodes[spec.inputs[0]], nodes[spec.inputs[1]])
            merges.append(Merge(sources, target, scaling.alpha, norm, act))
            blocks.append(group(spec.block, target.channels, target.planes))
            if spec.is_output:
                channels[target.level] = target.channels
        self.merge_ops = nn.CellList(merges)
        self.scale_permuted_blocks = nn.CellList(blocks)
        self.endpoint_convs = Endpoints(channels, self.out_channels, norm, endpoint_act)
        self.maxpool = MaxPool2d(3, 2, margin=1, floor=ACTIVATION_FLOORS[act])
        self.inputs = tuple(spec.inputs for spec in BLOCK_SPECS)
        self.extra_inputs = tuple(unconsumed_merges(nodes))
        self.output_indices = tuple(
            next(i for i, spec in enumerate(BLOCK_SPECS, start=2) if spec.is_output and spec.level == level)
            for level in SPINENET_LEVELS
        )

    def construct(self, images: Tensor) -> tuple[Tensor, ...]:
        """`images` [B,3,H,W], sides multiples of 128 -> tuple of [B,out_channels,H/s,W/s], s = 8, 16, 32, 64, 128."""
        x = self.maxpool(self.conv1(images))
        first = self.init_block1(x)
        features: tuple[Tensor, ...] = (first, self.init_block2(first))
        for i, merge in enumerate(self.merge_ops):
            a, b = self.inputs[i]
            further: tuple[Tensor, ...] = ()
            for extra in self.extra_inputs[i]:
                further = further + (features[extra],)
            x = merge(features[a], features[b], further)
            features = features + (self.scale_permuted_blocks[i](x),)
        outputs: tuple[Tensor, ...] = ()
        for index in self.output_indices:
            outputs = outputs + (features[index],)
        return self.endpoint_convs(outputs)

    def recompute_blocks(self) -> None:
        """See `RecomputesBlocks`."""
        recompute_residual_blocks(self, further=self.merge_ops)
