"""Layers shared by backbones and heads."""

from src.blocks.layers.activation import ACTIVATION_FLOORS, ACTIVATIONS, build_activation
from src.blocks.layers.conv_module import ConvModule, conv2d
from src.blocks.layers.conv_norm_act import ConvNormAct
from src.blocks.layers.l2_norm import L2Norm
from src.blocks.layers.norm import DEFAULT_NORM, Norm, build_norm
from src.blocks.layers.upsample2x2 import Upsample2x2, interleave
from src.ops.convolution.layers import Conv2d, Dense, PointwiseConvolution
from src.ops.cpu_kernels import use_standard_operators
from src.ops.map_sum import AttentionSum, MapSum
from src.ops.max_pool import DownsampleMax, MaxPool2d
from src.ops.upsample import upsample_nearest

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_FLOORS",
    "DEFAULT_NORM",
    "AttentionSum",
    "Conv2d",
    "ConvModule",
    "ConvNormAct",
    "Dense",
    "DownsampleMax",
    "L2Norm",
    "MapSum",
    "MaxPool2d",
    "Norm",
    "PointwiseConvolution",
    "Upsample2x2",
    "build_activation",
    "build_norm",
    "conv2d",
    "interleave",
    "upsample_nearest",
    "use_standard_operators",
]
