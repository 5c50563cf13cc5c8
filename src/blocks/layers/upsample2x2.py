"""Transposed convolution to twice the size."""

from collections.abc import Callable

from mindspore import Parameter, Tensor, nn, ops
from mindspore.common.initializer import Initializer, initializer

from src.blocks.initialization import kaiming_fan_out
from src.ops.compile_time import compile_time
from src.ops.convolution import Epilogue, PointwiseConvolution
from src.ops.precision import in_type


class Upsample2x2(nn.Cell):
    """Transposed convolution with kernel 2 and stride 2, whose four output pixels of an input pixel stay apart.

    As the kernels do not overlap it is a 1x1 convolution to four times the channels. Pointwise layers may follow
    before `interleave` puts the pixels in their places.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        has_bias: add a bias, which starts at zero.
        weight_init: makes the weights' initializer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        has_bias: bool = True,
        weight_init: Callable[[], Initializer] = kaiming_fan_out,
    ) -> None:
        super().__init__()
        # As PyTorch's ConvTranspose2d has it.
        self.weight = Parameter(initializer(weight_init(), (in_channels, out_channels, 2, 2)), name="weight")
        self.bias = Parameter(initializer("zeros", (out_channels,)), name="bias") if has_bias else None
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.convolve = PointwiseConvolution()

    def construct(self, x: Tensor) -> Tensor:
        """`x` [R,in_channels,H,W] -> [R*4,out_channels,H,W]; the four are (0,0), (0,1), (1,0), (1,1) as (y, x)."""
        x = self._apart(self.convolve(x, self._kernel()))
        return x if self.bias is None else ops.bias_add(x, in_type(self.bias, x.dtype))

    def with_relu(self, x: Tensor) -> Tensor:
        """ReLU of the same."""
        if self.relu_kernel is None:
            return ops.relu(self.construct(x))
        return self._apart(self.relu_kernel(x, self._kernel(), ops.tile(self.bias, (4,))))

    def with_relu_of_present(self, x: Tensor, present: Tensor) -> Tensor:
        """ReLU of the same for the first regions, int32 [1] of them; see `ConvNormAct.of_present`."""
        if self.present_relu_kernel is None:
            return ops.relu(self.construct(x))
        return self._apart(self.present_relu_kernel(x, self._kernel(), ops.tile(self.bias, (4,)), present))

    @compile_time
    def relu_kernel(self) -> ops.Custom | None:
        """The convolution with what follows it, where there is such a kernel."""
        return self._epilogue_kernel(present=False)

    @compile_time
    def present_relu_kernel(self) -> ops.Custom | None:
        """`relu_kernel` for the first regions."""
        return self._epilogue_kernel(present=True)

    def _epilogue_kernel(self, present: bool) -> ops.Custom | None:
        has_bias = self.bias is not None
        return self.convolve.epilogue_kernel(Epilogue(True, relu=True, present=present)) if has_bias else None

    def _kernel(self) -> Tensor:
        """The weights of the 1x1 convolution, [4*out_channels,in_channels,1,1]."""
        return self.weight.transpose(2, 3, 1, 0).reshape(4 * self.out_channels, self.in_channels, 1, 1)

    def _apart(self, x: Tensor) -> Tensor:
        regions, _, height, width = x.shape
        return x.reshape(regions * 4, self.out_channels, height, width)


def interleave(x: Tensor) -> Tensor:
    """`x` [R*4,C,H,W] of `Upsample2x2` -> [R,C,2*H,2*W]."""
    parts, channels, height, width = x.shape
    x = x.reshape(parts // 4, 2, 2, channels, height, width).transpose(0, 3, 4, 1, 5, 2)
    return x.reshape(parts // 4, channels, 2 * height, 2 * width)
