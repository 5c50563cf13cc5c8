"""Changes of resolution by whole factors, in operators that compile, differentiate and export everywhere."""

from mindspore import Tensor, ops


def upsample_nearest(x: Tensor, factor: int) -> Tensor:
    """Repeat each pixel: x [B,C,H,W] -> [B,C,H*factor,W*factor].

    A broadcast is nine times faster on CPU than ResizeNearestNeighbor, and becomes ONNX's Expand.
    """
    if factor == 1:
        return x
    batch, channels, height, width = x.shape
    x = x.reshape(batch, channels, height, 1, width, 1)
    x = ops.broadcast_to(x, (batch, channels, height, factor, width, factor))
    return x.reshape(batch, channels, height * factor, width * factor)


def downsample_max(x: Tensor, factor: int) -> Tensor:
    """Largest of each factor x factor pixels: x [B,C,H,W] -> [B,C,H/factor,W/factor]; H and W are multiples of it."""
    if factor == 1:
        return x
    return ops.MaxPool(kernel_size=factor, strides=factor, pad_mode="valid")(x)


def max_pool(x: Tensor, kernel_size: int, stride: int, floor: float = 0.0) -> Tensor:
    """Max pooling of x [B,C,H,W] >= floor with padding kernel_size // 2 on all sides, to [B,C,H/stride,W/stride].

    H and W must be multiples of `stride`, which must exceed kernel_size // 2. The windows then end inside x, and
    only the first rows and columns need padding: zeros, which equal -inf where x is not negative (a negative floor is
    lifted to zero for that). They are concatenated because Pad is thirty times slower on CPU, and
    `nn.MaxPool2d(pad_mode="pad")` would become an operator that ONNX does not have.
    """
    margin = kernel_size // 2
    if floor != 0.0:
        x = x - floor
    batch, channels, height, width = x.shape
    x = ops.concat((ops.zeros((batch, channels, margin, width), x.dtype), x), 2)
    x = ops.concat((ops.zeros((batch, channels, height + margin, margin), x.dtype), x), 3)
    x = ops.MaxPool(kernel_size=kernel_size, strides=stride, pad_mode="valid")(x)
    return x + floor if floor != 0.0 else x
