"""RoIAlign over feature levels, by the project's own kernels or by MindSpore's operators.

The kernels (cpu/, cuda/) pool each RoI on its own level only, and compute the weights of an RoI once for all channels.
Section 3 of "Mask R-CNN" (He et al., 2017) defines the operation, section 3 of "Feature Pyramid Networks for Object
Detection" (Lin et al., 2017) the level of an RoI; numbers follow torchvision's roi_align and mmdetection's extractor.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from src.model_utils.device_adapter import current_target
from src.ops.kernel_library import library
from src.ops.precision import in_float32
from src.ops.roi_align.standard_roi_align import StandardRoIAlign

MOST_LEVELS = 5


class RoIAlign(nn.Cell):
    """Pool each RoI on its own level to a grid of bins.

    A bin is the average of bilinear samples; samples more than a pixel outside the map count as zero.
    Level of an RoI: floor(log2(sqrt(width * height) / finest_scale + 1e-6)), clamped to the levels there are.
    RoIs of zero or negative size pool to zeros when sampling is adaptive, RoIs whose image is not in the batch always.

    Args:
        output_size: bins along each side, o.
        strides: pixels of the network input per pixel of each level, finest first; one to five.
        sampling_ratio: samples along each side of a bin; 0: as many as the bin has pixels, rounded up.
        aligned: pixel centres lie at half integers; otherwise RoIs lie half a pixel off and are at least a pixel long.
        finest_scale: RoIs smaller than twice this many pixels (square root of area) belong to the first level.

    Raises:
        UserError: the kernel is not built yet and cannot be built.
    """

    def __init__(
        self,
        output_size: int,
        strides: Sequence[float],
        sampling_ratio: int = 0,
        aligned: bool = True,
        finest_scale: float = 56,
    ) -> None:
        super().__init__()
        if not 1 <= len(strides) <= MOST_LEVELS:
            raise ValueError(f"RoIAlign takes 1 to {MOST_LEVELS} levels, not {len(strides)}")
        settings = [sampling_ratio, aligned, finest_scale, *strides]
        self.settings = Tensor(np.array(settings, np.float32))
        self.arguments = (output_size, tuple(strides), sampling_ratio, aligned, finest_scale)
        self.standard = StandardRoIAlign(*self.arguments)
        self.uses_standard_operators = current_target() == "Ascend"
        self.kernel_takes_float16 = current_target() == "GPU"
        self.kernel: Any = None
        if not self.uses_standard_operators:
            path = library(current_target())
            self.kernel = _custom_operator(str(path), output_size, len(strides))

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on (see StandardRoIAlign)."""
        self.uses_standard_operators = True

    def export_as(self, form: type[StandardRoIAlign]) -> None:
        """Compute by another form of standard operators from now on, one that suits a format of exported models."""
        self.standard = form(*self.arguments)
        self.uses_standard_operators = True

    def construct(self, levels: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """Pool.

        Args:
            levels: feature maps [B,C,Hl,Wl], a tuple; float16 is pooled as it is on GPU, other types in float32.
            rois: float32 [R,5]: index of the image in the batch, then x1, y1, x2, y2 in pixels of the network input.

        Returns:
            [R,C,o,o]. It is differentiable with respect to the levels, not to the RoIs.
        """
        if self.uses_standard_operators:
            return self.standard(_in_float32(levels), rois)
        if not (self.kernel_takes_float16 and levels[0].dtype == ms.float16):
            levels = _in_float32(levels)
        return self.kernel(*levels, rois, self.settings)


def _in_float32(levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    wide: tuple[Tensor, ...] = ()
    for level in levels:
        wide = wide + (in_float32(level),)
    return wide


def _custom_operator(path: str, output_size: int, levels: int) -> ops.Custom:
    """The kernel as an operator (level_0, .., rois, settings) -> out, with its gradient."""

    def level_like(*inputs: Any) -> Any:
        return inputs[0] if levels == 1 else tuple(inputs[:levels])

    def pooled_shape(*shapes: list[int]) -> tuple[int, ...]:
        return (shapes[levels][0], shapes[0][1], output_size, output_size)

    gradient = ops.Custom(f"{path}:RoiAlignGrad", level_like, level_like, "aot")
    bprop = _backward(gradient, levels)
    operator = ops.Custom(f"{path}:RoiAlign", pooled_shape, lambda *types: types[0], "aot", bprop)
    # MindSpore takes operators of equal name and attributes for one another: graphs keep one gradient for both,
    # pynative mode one output shape.
    operator.add_prim_attr("levels", levels)
    operator.add_prim_attr("output_size", output_size)
    return operator


def _backward(gradient: ops.Custom, levels: int) -> Callable:
    """The bprop for a number of levels; graph mode wants every argument by its name."""

    def one(a: Tensor, rois: Tensor, settings: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        return gradient(a, rois, settings, dout), ops.zeros_like(rois), ops.zeros_like(settings)

    def two(a: Tensor, b: Tensor, rois: Tensor, settings: Tensor, _out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        return gradient(a, b, rois, settings, dout) + (ops.zeros_like(rois), ops.zeros_like(settings))

    def three(
        a: Tensor, b: Tensor, c: Tensor, rois: Tensor, settings: Tensor, _out: Tensor, dout: Tensor
    ) -> tuple[Tensor, ...]:
        return gradient(a, b, c, rois, settings, dout) + (ops.zeros_like(rois), ops.zeros_like(settings))

    def four(
        a: Tensor, b: Tensor, c: Tensor, d: Tensor, rois: Tensor, settings: Tensor, _out: Tensor, dout: Tensor
    ) -> tuple[Tensor, ...]:
        return gradient(a, b, c, d, rois, settings, dout) + (ops.zeros_like(rois), ops.zeros_like(settings))

    def five(
        a: Tensor,
        b: Tensor,
        c: Tensor,
        d: Tensor,
        e: Tensor,
        rois: Tensor,
        settings: Tensor,
        _out: Tensor,
        dout: Tensor,
    ) -> tuple[Tensor, ...]:
        return gradient(a, b, c, d, e, rois, settings, dout) + (ops.zeros_like(rois), ops.zeros_like(settings))

    return (one, two, three, four, five)[levels - 1]
