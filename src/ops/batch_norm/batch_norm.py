"""Batch normalization in half precision around float32 statistics, and with statistics over all devices.

On the CPU float32 maps are normalized by the project's own kernels (cpu/batch_norm.cc), which read them fewer times
than MindSpore's operators and add up in float64.
"""

from functools import cache
from typing import Any

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.communication import GlobalComm, get_group_size

from src.ops.compile_time import compile_time
from src.ops.cpu_kernels import cpu_library
from src.ops.precision import Precision, in_float32, in_type

TARGET = "CPU batch normalization"


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
        self.frozen = frozen
        if frozen:
            self.gamma.requires_grad = False
            self.beta.requires_grad = False
        self.devices = _devices() if over_devices else 1
        self.kept_share = momentum
        self.epsilon = Tensor(eps, ms.float32)
        self.settings = Tensor([eps, 1.0 - momentum], ms.float32)
        path = cpu_library(TARGET)
        self.batch_kernel: Any = path and _batch_operator(path)
        self.stored_kernel: Any = path and _stored_operator(path)
        if self.devices > 1:
            self.all_reduce = ops.AllReduce()

    def set_precision(self, precision: Precision) -> None:
        """Take and give these types from now on."""
        self.input_type, self.output_type = precision.norm_input, precision.norm_output

    def use_standard_operators(self) -> None:
        """Compute by MindSpore's own operators from now on."""
        self.batch_kernel = self.stored_kernel = None

    def construct(self, x: Tensor) -> Tensor:
        """Normalize x [B,C,H,W]."""
        if self.devices > 1 and self.training:
            return in_type(self._normalize_over_devices(in_float32(x)), self.output_type)
        x = in_type(x, self.input_type)
        if self.batch_kernel is not None and x.dtype == ms.float32:
            return in_type(self._by_kernel(x), self.output_type)
        # A graph would take the `super()` of a subclass for this one: this class has none.
        return in_type(super().construct(x), self.output_type)

    @compile_time
    def is_fixed(self) -> bool:
        """Whether the kernels normalize float32 by stored values that do not train: a convolution can do it as well."""
        trains = self.training and (self.use_batch_statistics is None or not self.frozen)
        full = self.input_type == ms.float32 and self.output_type == ms.float32
        return self.stored_kernel is not None and full and not trains and not self.use_batch_statistics

    @compile_time
    def operands(self) -> tuple[Tensor, ...]:
        """Gamma, beta, mean, variance, each [C], and [epsilon, the new batch's share in the running statistics]."""
        return (self.gamma, self.beta, self.moving_mean, self.moving_variance, self.settings)

    def _by_kernel(self, x: Tensor) -> Tensor:
        by_batch = self.training if self.use_batch_statistics is None else self.use_batch_statistics
        operands = (x, *self.operands)
        if not by_batch:
            return self.stored_kernel(*operands)
        out, _, _, mean, variance = self.batch_kernel(*operands)
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
def _batch_operator(path: str) -> ops.Custom:
    """(x, gamma, beta, running mean, running variance, settings) -> (out, mean, 1 / deviation, new running ones)."""

    def like_results(x: Any, gamma: Any, *_others: Any) -> tuple:
        return x, gamma, gamma, gamma, gamma

    def like_gradients(_dout: Any, x: Any, gamma: Any, *_others: Any) -> tuple:
        return x, gamma, gamma

    gradient = ops.Custom(f"{path}:BatchNormGradient", like_gradients, like_gradients, "aot")

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
        dx, dgamma, dbeta = gradient(dout[0], x, gamma, out[1], out[2])
        nothing = (ops.zeros_like(old_mean), ops.zeros_like(old_variance), ops.zeros_like(settings))
        return dx, dgamma, dbeta, *nothing

    operator = ops.Custom(f"{path}:BatchNorm", like_results, like_results, "aot", backward)
    # A backward pass that computes activations again keeps to this one's: it has read the old running statistics.
    return operator.recompute(False)


@cache
def _stored_operator(path: str) -> ops.Custom:
    """(x, gamma, beta, mean, variance, settings) -> out."""

    def like_first(first: Any, *_others: Any) -> Any:
        return first

    def like_parameters(_dout: Any, _x: Any, mean: Any, *_others: Any) -> tuple:
        return mean, mean

    # Two operators, of which a graph keeps what it needs: of frozen layers the gradient of x alone.
    input_gradient = ops.Custom(f"{path}:StoredBatchNormInputGradient", like_first, like_first, "aot")
    name = f"{path}:StoredBatchNormParameterGradient"
    parameter_gradient = ops.Custom(name, like_parameters, like_parameters, "aot")

    def backward(
        x: Tensor,
        gamma: Tensor,
        _beta: Tensor,
        mean: Tensor,
        variance: Tensor,
        settings: Tensor,
        _out: Tensor,
        dout: Tensor,
    ) -> tuple[Tensor, ...]:
        dgamma, dbeta = parameter_gradient(dout, x, mean, variance, settings)
        nothing = (ops.zeros_like(mean), ops.zeros_like(variance), ops.zeros_like(settings))
        return input_gradient(dout, gamma, variance, settings), dgamma, dbeta, *nothing

    return ops.Custom(f"{path}:StoredBatchNorm", like_first, like_first, "aot", backward)
