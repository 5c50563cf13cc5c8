"""Numbers of published architectures.

Imports no MindSpore: configurations are checked against them before anything heavy is loaded.
"""

from typing import NamedTuple


class Scaling(NamedTuple):
    """What distinguishes the five published sizes of SpineNet (arXiv:1912.05027, section 3.4 and appendix)."""

    out_channels: int  # of each endpoint
    width: float  # factor on the filters of each level
    alpha: float  # share of the filters that resampling works with
    repeats: int  # residual blocks per scale-permuted block


SPINENET_SCALINGS = {
    "49S": Scaling(128, 0.65, 0.5, 1),
    "49": Scaling(256, 1.0, 0.5, 1),
    "96": Scaling(256, 1.0, 0.5, 2),
    "143": Scaling(256, 1.0, 1.0, 3),
    "190": Scaling(512, 1.3, 1.0, 4),
}
SPINENET_LEVELS = (3, 4, 5, 6, 7)

# Blocks of each stage by depth (ResNet, arXiv:1512.03385, table 1).
RESNET_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
RESNET_FIRST_BOTTLENECK_DEPTH = 50  # shallower ones have basic blocks
BASIC_EXPANSION, BOTTLENECK_EXPANSION = 1, 4  # output channels of a block over those of its 3x3 convolutions


def has_bottlenecks(depth: int) -> bool:
    """Whether a ResNet of this depth has bottleneck blocks."""
    return depth >= RESNET_FIRST_BOTTLENECK_DEPTH


# VGG-16 (arXiv:1409.1556): convolutions of each of the five groups, and their channels over the first group's.
VGG16_GROUPS = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))
VGG16_FC_FACTOR = 16  # channels of fc6 and fc7 over the first group's
