"""L2 normalization over channels (ParseNet, Liu et al. 2015, arXiv:1506.04579)."""

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import initializer

from src.ops.precision import in_float32, in_type


class L2Norm(nn.Cell):
    """Scales the channels of each pixel to length 1, then each channel by a learned factor.

    Early layers of VGG have larger values than late ones, which the heads of several levels should not see.

    Args:
        channels: channels of the input.
        scale: the factors' initial value.
        eps: added to the length.
    """

    def __init__(self, channels: int, scale: float, eps: float = 1e-10) -> None:
        super().__init__()
        self.weight = Parameter(initializer(scale, (channels,)), name="weight")
        self.eps = eps

    def construct(self, x: Tensor) -> Tensor:
        """`x` [B,channels,H,W] -> the same shape."""
        dtype, x = x.dtype, in_float32(x)
        batch, channels, height, width = x.shape
        # A root's gradient at 0 is infinite; a tiny number under it changes no other length.
        squares = (x * x).sum(axis=1).reshape(batch, 1, height * width)
        length = ops.sqrt(ops.maximum(squares, 1e-30)) + self.eps
        # Products that broadcast are slow on CPU, a product of matrices is not; MindSpore's ONNX has no Reciprocal.
        # One matrix per image: ops.matmul of a matrix and a batch of one has no gradient.
        weight = ops.broadcast_to(self.weight.reshape(1, channels, 1), (batch, channels, 1))
        factors = ops.BatchMatMul()(weight, ops.pow(length, -1.0))
        return in_type(x * factors.reshape(x.shape), dtype)
