"""Convolutions and fully connected layers by kernels of this project."""

from src.ops.convolution.layers import Conv2d, Dense, PointwiseConvolution
from src.ops.convolution.operators import Epilogue, layer_by_layer

__all__ = ["Conv2d", "Dense", "Epilogue", "PointwiseConvolution", "layer_by_layer"]
