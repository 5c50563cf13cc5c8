"""Batch normalization in half precision around float32 statistics, and with statistics over all devices.

On the CPU float32 maps are normalized by the project's own kernels (cpu/batch_norm.cc), which read them fewer times
than MindSpore's operators and add up in float64. They also add a shortcut and apply ReLU, where these follow.
"""

from functools import cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.communication import GlobalComm, get_group_size

from src.ops.compile_time import compile_time
from src.ops.cpu_kernels import cpu_library
from src.ops.named_operands import of_operands
from src.ops.precision import Precision, in_float32, in_type

TARGET = "CPU batch normalization"
# What may follow a normalization, as the kernels are named: nothing, ReLU, or the sum of a shortcut and ReLU.
FOLLOWING = NOTHING, RELU, ADD_RELU = "", "Relu", "AddRelu"


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
        frozen: gamma and beta do not train.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.9,
        use_batch_statistics: bool | None = None,
        over_devices: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum, use_batch_statistics=use_batch_statistics)
        self.input_type = self.output_type = ms.float32
        self.full_precision = True  # of what the layer is given, too
        self.frozen = frozen
        if frozen:
            self.gamma.requires_grad = False
            self.beta.requires_grad = False
        self.devices = _devices() if over_devices else 1
        self.kept_share = momentum
        self.epsilon = Tensor(eps, ms.float32)
        self.settings = Tensor([eps, 1.0 - momentum], ms.float32)
        self.may_run_twice = False
        self.kernel_library = cpu_library(TARGET)
        if self.devices > 1:
            self.all_reduce = ops.AllReduce()

    def set_precision(self, precision: Precision) -> None:
        """Take and give these types from now on."""
        self.input_type, self.output_type = precision.norm_input, precision.norm_output
        self.full_precision = precision.output == precision.norm_input == precision.norm_output == ms.float32

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on."""
        self.kernel_library = None

    def let_run_twice(self) -> None:
        """Compute the same when a backward pass normalizes again.

        The kernels then have nothing to do with the running statistics, which MindSpore's operators update: what reads
        a parameter comes before what writes it, so that the second run would follow right after the first.
        """
        self.may_run_twice = True
        self.no_statistics = Tensor(np.zeros(self.num_features, np.float32))
        self.whole_update = Tensor([self.eps, 1.0], ms.float32)
        self.bn_train.recompute(False)  # it updates them itself

    def construct(self, x: Tensor) -> Tensor:
        """Normalize x [B,C,H,W]."""
        if self.kernel is None:
            return self._cast(x)
        return self._result(self.kernel(x, self.gamma, self.beta, self.old_mean, self.old_variance, self.update))

    def with_relu(self, x: Tensor) -> Tensor:
        """ReLU of the normalized x, by one kernel where there is one."""
        if self.relu_kernel is None:
            return ops.relu(self._cast(x))
        return self._result(self.relu_kernel(x, self.gamma, self.beta, self.old_mean, self.old_variance, self.update))

    def with_shortcut_and_relu(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """ReLU of the normalized x + shortcut, both [B,C,H,W], by one kernel where there is one."""
        if self.sum_kernel is None:
            return ops.relu(self._cast(x) + shortcut)
        return self._result(
            self.sum_kernel(x, self.gamma, self.beta, self.old_mean, self.old_variance, self.update, shortcut)
        )

    @compile_time
    def kernel(self) -> ops.Custom | None:
        """The kernel that normalizes, where nothing has to be cast."""
        return self._kernel(NOTHING)

    @compile_time
    def relu_kernel(self) -> ops.Custom | None:
        """`kernel` and ReLU."""
        return self._kernel(RELU)

    @compile_time
    def sum_kernel(self) -> ops.Custom | None:
        """`kernel`, the sum of a shortcut, and ReLU."""
        return self._kernel(ADD_RELU)

    @compile_time
    def float32_kernel(self) -> ops.Custom | None:
        """The kernel that normalizes float32, which may have to be cast."""
        return self._kernel(NOTHING, casts=True)

    @compile_time
    def by_batch(self) -> bool:
        """Whether the batch's statistics count, not the stored ones."""
        return self.training if self.use_batch_statistics is None else self.use_batch_statistics

    @compile_time
    def is_fixed(self) -> bool:
        """Whether the kernels normalize by stored values that do not train: a convolution's can do it as well."""
        return self.kernel is not None and not self.by_batch and (self.frozen or not self.training)

    @compile_time
    def updates_apart(self) -> bool:
        """Whether the running statistics are updated apart from the kernels."""
        return self.by_batch and self.may_run_twice

    # Three of them: operands that `*` unpacks would be in a graph of their own, not computed again with its block.
    @compile_time
    def old_mean(self) -> Tensor:
        """The running mean, as the kernels take it."""
        return self.no_statistics if self.updates_apart else self.moving_mean

    @compile_time
    def old_variance(self) -> Tensor:
        """The running variance, as the kernels take it."""
        return self.no_statistics if self.updates_apart else self.moving_variance

    @compile_time
    def update(self) -> Tensor:
        """Epsilon and the new batch's share in the running statistics that the kernels give."""
        return self.whole_update if self.updates_apart else self.settings

    def _kernel(self, following: str, casts: bool = False) -> ops.Custom | None:
        if self.kernel_library is None or (self.devices > 1 and self.training) or not (self.full_precision or casts):
            return None
        return (_batch_operator if self.by_batch else _stored_operator)(self.kernel_library, following)

    def _result(self, results: Any) -> Tensor:
        """The normalized map of what a kernel gave; the running statistics become its last two, if it has them."""
        if not self.by_batch:
            return results
        if self.updates_apart:
            self._keep(self.moving_mean, results[4])
            self._keep(self.moving_variance, results[5])
        else:
            ops.assign(self.moving_mean, ops.stop_gradient(results[4]))
            ops.assign(self.moving_variance, ops.stop_gradient(results[5]))
        return results[0]

    def _cast(self, x: Tensor) -> Tensor:
        """The normalized x in any types and on any devices."""
        if self.devices > 1 and self.training:
            return in_type(self._normalize_over_devices(in_float32(x)), self.output_type)
        x = in_type(x, self.input_type)
        if self.float32_kernel is not None and x.dtype == ms.float32:
            results = self.float32_kernel(x, self.gamma, self.beta, self.old_mean, self.old_variance, self.update)
            return in_type(self._result(results), self.output_type)
        # A graph would take the `super()` of a subclass for this one: this class has none.
        return in_type(super().construct(x), self.output_type)

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
        return (x, gamma, gamma, x) if following == ADD_RELU else (x, gamma, gamma)

    gradient = ops.Custom(f"{path}:BatchNorm{following}Gradient", like_gradients, like_gradients, "aot")

    def backward(operands: tuple[Tensor, ...], out: tuple[Tensor, ...], dout: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, gamma, _, old_mean, old_variance, settings = operands[:6]
        if following == NOTHING:
            gradients = gradient(dout[0], x, gamma, out[1], out[2])
        else:  # and what tells where ReLU lets a gradient pass
            gradients = gradient(dout[0], x, gamma, out[1], out[2], out[3] if following == RELU else out[0])
        nothing = (ops.zeros_like(old_mean), ops.zeros_like(old_variance), ops.zeros_like(settings))
        return *gradients[:3], *nothing, *gradients[3:]

    bprop = of_operands(backward, 7 if following == ADD_RELU else 6)
    return ops.Custom(f"{path}:BatchNorm{following}", like_results, like_results, "aot", bprop)


@cache
def _stored_operator(path: str, following: str) -> ops.Custom:
    """(x, gamma, beta, mean, variance, settings) -> out; with `AddRelu` following a shortcut is the last operand."""
    with_shortcut = following == ADD_RELU

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

    def backward(operands: tuple[Tensor, ...], out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        x, gamma, beta, mean, variance, settings = operands[:6]
        nothing = (ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(settings))
        if with_shortcut:
            dx, dshortcut = input_gradient(dout, gamma, variance, settings, out)
            return dx, *parameter_gradient(dshortcut, x, mean, variance, settings), *nothing, dshortcut
        if following:
            dx = input_gradient(dout, gamma, variance, settings, out)
            return dx, *parameter_gradient(dout, x, gamma, beta, mean, variance, settings), *nothing
        dx = input_gradient(dout, gamma, variance, settings)
        return dx, *parameter_gradient(dout, x, mean, variance, settings), *nothing

    bprop = of_operands(backward, 7 if with_shortcut else 6)
    return ops.Custom(f"{path}:StoredBatchNorm{following}", like_first, like_first, "aot", bprop)
