"""Batch normalization in half precision around float32 statistics, and with statistics over all devices.

On the CPU float32 maps are normalized by the project's own kernels (cpu/batch_norm.cc), which read them fewer times
than MindSpore's operators and add up in float64. They also add a shortcut and apply ReLU, where these follow.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.communication import GlobalComm, get_group_size

from src.ops.cpu_kernels import cpu_library
from src.ops.precision import Precision, in_float32, in_type

TARGET = "CPU batch normalization"
# What may follow a normalization, as the kernels are named: nothing, ReLU, or the sum of a shortcut and ReLU.
FOLLOWING = ("", "Relu", "AddRelu")


def _devices() -> int:
    return get_group_size() if GlobalComm.INITED else 1


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that casts what it takes and gives (see `Precision`), and can count all devices' images.

    By the kernels, on the CPU in float32; of a single value per channel they leave the running variance finite, which
    MindSpore's operator divides by zero for.

    MindSpore's own SyncBatchNorm runs on Ascend only; this one needs nothing but AllReduce.

    Args:
        num_features: number of channels C.
        eps: added to the variance.
        momentum: share of the old value in the running statistics (MindSpore's convention).
        use_batch_statistics: as in `nn.BatchNorm2d`.
        over_devices: training statistics are those of the whole batch over all devices; with `use_batch_statistics`
            None. In a run on one device it has no effect.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        use_batch_statistics: bool | None = None,
        over_devices: bool = False,
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum, use_batch_statistics=use_batch_statistics)
        self.input_type = self.output_type = ms.float32
        self.devices = _devices() if over_devices else 1
        self.kept_share = momentum
        self.epsilon = Tensor(eps, ms.float32)
        self.settings = Tensor([eps, 1.0 - momentum], ms.float32)
        path = cpu_library(TARGET)
        self.batch_kernels: Any = path and tuple(_batch_operator(path, following) for following in FOLLOWING)
        self.stored_kernels: Any = path and tuple(_stored_operator(path, following) for following in FOLLOWING)
        if self.devices > 1:
            self.all_reduce = ops.AllReduce()

    def set_precision(self, precision: Precision) -> None:
        """Take and give these types from now on."""
        self.input_type, self.output_type = precision.norm_input, precision.norm_output

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on."""
        self.batch_kernels = self.stored_kernels = None

    def construct(self, x: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        """Normalize x, add a shortcut, let ReLU follow; all by one kernel where that is in float32.

        Args:
            x: [B,C,H,W].
            shortcut: like the result; None: no sum.
            relu: whether ReLU follows.

        Returns:
            [B,C,H,W] in the layer's output type, or what its sum with the shortcut has.
        """
        if self.batch_kernels is not None and self.output_type == ms.float32 and relu and not self._asks_devices():
            x = in_type(x, self.input_type)
            if x.dtype == ms.float32 and (shortcut is None or shortcut.dtype == ms.float32):
                return self._by_kernel(x, shortcut, relu)
        x = self._normalize(x)
        if shortcut is not None:
            x = x + shortcut
        return ops.relu(x) if relu else x

    def _asks_devices(self) -> bool:
        return self.devices > 1 and self.training

    def _normalize(self, x: Tensor) -> Tensor:
        if self._asks_devices():
            return in_type(self._normalize_over_devices(in_float32(x)), self.output_type)
        x = in_type(x, self.input_type)
        if self.batch_kernels is not None and x.dtype == ms.float32:
            return in_type(self._by_kernel(x), self.output_type)
        # A graph would take the `super()` of a subclass for this one: this class has none.
        return in_type(super().construct(x), self.output_type)

    def _by_kernel(self, x: Tensor, shortcut: Tensor | None = None, relu: bool = False) -> Tensor:
        following = (1 if shortcut is None else 2) if relu else 0
        further = () if shortcut is None else (shortcut,)
        by_batch = self.training if self.use_batch_statistics is None else self.use_batch_statistics
        operands = (x, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.settings, *further)
        if not by_batch:
            return self.stored_kernels[following](*operands)
        out, _, _, _, mean, variance = self.batch_kernels[following](*operands)
        ops.assign(self.moving_mean, ops.stop_gradient(mean))
        ops.assign(self.moving_variance, ops.stop_gradient(variance))
        return out

    def _normalize_over_devices(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        count = self.devices * batch * height * width
        mean = self.all_reduce(x.sum(axis=(0, 2, 3))) / count
        centred = x - mean.reshape(1, channels, 1, 1)
        variance = self.all_reduce((centred * centred).sum(axis=(0, 2, 3))) / count
        unbiased = variance * (count / max(count - 1, 1))
        self._keep(self.moving_mean, mean)
        self._keep(self.moving_variance, unbiased)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return centred * scale.reshape(1, channels, 1, 1) + self.beta.reshape(1, channels, 1, 1)

    def _keep(self, running: Tensor, new: Tensor) -> None:
        new = ops.stop_gradient(new)
        ops.assign(running, self.kept_share * running + (1.0 - self.kept_share) * new)


# One operator serves all layers: MindSpore takes operators of equal name and attributes for one another anyway.
@cache
def _batch_operator(path: str, following: str) -> ops.Custom:
    """(x, gamma, beta, running mean and variance, settings) -> (out, mean, 1 / deviation, shift, new running ones).

    With `AddRelu` following a shortcut is the last operand.
    """

    def like_results(x: Any, gamma: Any, *_others: Any) -> tuple:
        return x, gamma, gamma, gamma, gamma, gamma

    def like_gradients(_dout: Any, x: Any, gamma: Any, *_others: Any) -> tuple:
        return (x, gamma, gamma, x) if following == "AddRelu" else (x, gamma, gamma)

    gradient = ops.Custom(f"{path}:BatchNorm{following}Gradient", like_gradients, like_gradients, "aot")

    def backward(
        x: Tensor,
        gamma: Tensor,
        _beta: Tensor,
        old_mean: Tensor,
        old_variance: Tensor,
        settings: Tensor,
        out: tuple[Tensor, ...],
        dout: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        # What tells where ReLU lets a gradient pass.
        further = {"": (), "Relu": (out[3],), "AddRelu": (out[0],)}[following]
        gradients = gradient(dout[0], x, gamma, out[1], out[2], *further)
        nothing = (ops.zeros_like(old_mean), ops.zeros_like(old_variance), ops.zeros_like(settings))
        return *gradients[:3], *nothing, *gradients[3:]

    bprop = _with_shortcut(backward) if following == "AddRelu" else backward
    operator = ops.Custom(f"{path}:BatchNorm{following}", like_results, like_results, "aot", bprop)
    # A backward pass that computes activations again keeps to this one's: it has read the old running statistics.
    return operator.recompute(False)


@cache
def _stored_operator(path: str, following: str) -> ops.Custom:
    """(x, gamma, beta, mean, variance, settings) -> out; with `AddRelu` following a shortcut is the last operand."""
    with_shortcut = following == "AddRelu"

    def like_first(first: Any, *_others: Any) -> Any:
        return first

    def like_inputs(dout: Any, *_others: Any) -> Any:
        return (dout, dout) if with_shortcut else dout

    def like_parameters(_dout: Any, _x: Any, parameter: Any, *_others: Any) -> tuple:
        return parameter, parameter

    # Two operators, of which a graph keeps what it needs: of frozen layers the gradients of x and the shortcut alone.
    name = f"{path}:StoredBatchNorm{following}InputGradient"
    input_gradient = ops.Custom(name, like_inputs, like_inputs, "aot")
    name = f"{path}:StoredBatchNorm{'' if with_shortcut else following}ParameterGradient"
    parameter_gradient = ops.Custom(name, like_parameters, like_parameters, "aot")

    def backward(
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        settings: Tensor,
        out: Tensor,
        dout: Tensor,
    ) -> tuple[Tensor, ...]:
        nothing = (ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(settings))
        if with_shortcut:
            dx, dshortcut = input_gradient(dout, gamma, variance, settings, out)
            return dx, *parameter_gradient(dshortcut, x, mean, variance, settings), *nothing, dshortcut
        if following:
            dx = input_gradient(dout, gamma, variance, settings, out)
            return dx, *parameter_gradient(dout, x, gamma, beta, mean, variance, settings), *nothing
        dx = input_gradient(dout, gamma, variance, settings)
        return dx, *parameter_gradient(dout, x, mean, variance, settings), *nothing

    bprop = _with_shortcut(backward) if with_shortcut else backward
    return ops.Custom(f"{path}:StoredBatchNorm{following}", like_first, like_first, "aot", bprop)


def _with_shortcut(backward: Callable) -> Callable:
    """The function for operators with a shortcut, which it does not need; a graph's has no `*operands`."""

    def taking_shortcut(
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        settings: Tensor,
        _shortcut: Tensor,
        out: Any,
        dout: Any,
    ) -> tuple[Tensor, ...]:
        return backward(x, gamma, beta, mean, variance, settings, out, dout)

    return taking_shortcut
