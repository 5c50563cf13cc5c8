"""Layers shared by backbones and heads."""

from src.blocks.layers.activation import ACTIVATION_FLOORS, build_activation
from src.blocks.layers.conv_module import ConvModule, conv2d
from src.blocks.layers.counting import count_macs, count_parameters
from src.blocks.layers.fast_conv2d import Conv2d, Dense, PointwiseConvolution, use_standard_operators
from src.blocks.layers.norm import DEFAULT_NORM, Norm, build_norm
from src.blocks.layers.resize import max_pool, upsample_nearest

__all__ = [
    "ACTIVATION_FLOORS",
    "DEFAULT_NORM",
    "Conv2d",
    "ConvModule",
    "Dense",
    "Norm",
    "PointwiseConvolution",
    "build_activation",
    "build_norm",
    "conv2d",
    "count_macs",
    "count_parameters",
    "max_pool",
    "upsample_nearest",
    "use_standard_operators",
]
