"""Clipping, the optimizer's rule and averages of the weights, for all parameters in one call (cpu/weight_update.cc).

MindSpore's operators for it are called several times for each parameter, and each time read and write it whole. On the
CPU the kernel reads it once for the norm of the gradients, and once for the rest. It writes parameters where they lie.
"""

from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops import signature

from src.ops.cpu_kernels import cpu_library

TARGET = "CPU weight update"

_scale = ops.MultitypeFuncGraph("scale")


@_scale.register("Tensor", "Tensor")
def _scale_tensor(factor: Tensor, gradient: Tensor) -> Tensor:
    return gradient * factor.astype(gradient.dtype)


class StandardUpdate(nn.Cell):
    """An update by MindSpore's operators, of any optimizer on any device.

    Args:
        optimizer: of the parameters.
        grad_clip: maximum norm of all gradients together; 0: no clipping.
    """

    def __init__(self, optimizer: nn.Optimizer, grad_clip: float) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.grad_clip = grad_clip
        self.hyper_map = ops.HyperMap()

    def construct(self, gradients: tuple[Tensor, ...], factor: Tensor) -> tuple[Tensor, ...]:
        """Update the weights by `factor` times the gradients, clipped; what it returns, others can depend on."""
        gradients = self.hyper_map(ops.partial(_scale, factor), gradients)
        if self.grad_clip > 0:
            gradients = ops.clip_by_global_norm(gradients, self.grad_clip)
        return self.optimizer(gradients)


class _KernelUpdate(nn.Cell):
    """An update by the kernel that has the class's name; arguments and result as of `StandardUpdate`."""

    written = 3  # arrays per parameter: itself and two moments

    def __init__(self, optimizer: nn.Optimizer, grad_clip: float, path: str) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        count = len(optimizer.parameters)
        self.kernel = _in_place(f"{path}:{type(self).__name__}", 2 + count, count * self.written)
        self.grad_clip = Tensor(grad_clip, ms.float32)
        self.decays = Tensor(_decays(optimizer))
        self.one = Tensor(1, ms.int32)

    def _settings(self, factor: Tensor, rate: Tensor, beta1: Tensor, beta2: Tensor, epsilon: Tensor) -> Tensor:
        values = (factor, self.grad_clip, rate, beta1, beta2, epsilon)
        return ops.concat([value.astype(ms.float32).reshape(1) for value in values])


class MomentumUpdate(_KernelUpdate):
    """`nn.Momentum`'s update."""

    written = 2

    def construct(self, gradients: tuple[Tensor, ...], factor: Tensor) -> Tensor:
        """As `StandardUpdate` does; returns the norm of the gradients before clipping, float32 [1]."""
        own = self.optimizer
        ops.assign_add(own.global_step, self.one)
        settings = self._settings(factor, own.learning_rate, own.momentum, own.momentum, own.momentum)
        return self.kernel(settings, self.decays, *gradients, *own.parameters, *own.moments)


class AdamUpdate(_KernelUpdate):
    """`nn.Adam`'s update."""

    def construct(self, gradients: tuple[Tensor, ...], factor: Tensor) -> Tensor:
        """As `StandardUpdate` does; returns the norm of the gradients before clipping, float32 [1]."""
        own = self.optimizer
        ops.assign_add(own.global_step, self.one)
        power1, power2 = own.beta1_power * own.beta1, own.beta2_power * own.beta2
        ops.assign(own.beta1_power, power1)
        ops.assign(own.beta2_power, power2)
        rate = own.learning_rate * ops.sqrt(1.0 - power2) / (1.0 - power1)
        settings = self._settings(factor, rate, own.beta1, own.beta2, own.eps)
        return self.kernel(settings, self.decays, *gradients, *own.parameters, *own.moment1, *own.moment2)


class AdamWeightDecayUpdate(_KernelUpdate):
    """`nn.AdamWeightDecay`'s update."""

    def construct(self, gradients: tuple[Tensor, ...], factor: Tensor) -> Tensor:
        """As `StandardUpdate` does; returns the norm of the gradients before clipping, float32 [1]."""
        own = self.optimizer
        ops.assign_add(own.global_step, self.one)
        settings = self._settings(factor, own.learning_rate, own.beta1, own.beta2, own.eps)
        return self.kernel(settings, self.decays, *gradients, *own.parameters, *own.moments1, *own.moments2)


_BY_KERNEL = {nn.Momentum: MomentumUpdate, nn.Adam: AdamUpdate, nn.AdamWeightDecay: AdamWeightDecayUpdate}


def weight_update(optimizer: nn.Optimizer, grad_clip: float) -> nn.Cell:
    """A cell (gradients, factor) -> what others can depend on, that clips and updates as `StandardUpdate` does.

    Args:
        optimizer: its rule, parameters, moments, weight decay and learning rate, one for all parameters.
        grad_clip: maximum norm of all gradients together; 0: no clipping.
    """
    path = _kernels()
    update = _BY_KERNEL.get(type(optimizer))
    plain = not any(getattr(optimizer, name, False) for name in ("use_nesterov", "use_amsgrad", "use_lazy"))
    float32 = all(parameter.dtype == ms.float32 for parameter in optimizer.parameters)
    if path is None or update is None or not plain or not float32 or optimizer.is_group_lr:
        return StandardUpdate(optimizer, grad_clip)
    return update(optimizer, grad_clip, path)


def moving_average(count: int) -> Callable[..., Tensor] | None:
    """The operator (kept [], values..., averages...) that lets each average be kept * average + (1 - kept) * value.

    Averages are float32 parameters that it writes in place; values have the same shapes. What it returns, others can
    depend on. None where the kernel does not run.

    Args:
        count: of averages.
    """
    path = _kernels()
    return None if path is None else _in_place(f"{path}:MovingAverage", 1 + count, count)


def _decays(optimizer: nn.Optimizer) -> np.ndarray:
    """Weight decay of each parameter, float32."""
    decays = optimizer.weight_decay if optimizer.is_group else [optimizer.weight_decay] * len(optimizer.parameters)
    flags = optimizer.decay_flags
    return np.array([float(decay) * flag for decay, flag in zip(decays, flags, strict=True)], np.float32)


def _kernels() -> str | None:
    """The library, where this process computes on the CPU in graphs."""
    return cpu_library(TARGET) if ms.get_context("mode") == ms.GRAPH_MODE else None


def _in_place(name: str, read: int, written: int) -> ops.Custom:
    """The operator of `read` tensors and then `written` parameters, float32 -> float32 [1].

    The compiler must know what is written: it hands over copies of parameters that it takes for constant in a step.
    """
    operator = ops.Custom(name, lambda *_shapes: (1,), lambda *types: types[0], "aot")
    rights = [signature.sig_rw.RW_READ] * read + [signature.sig_rw.RW_WRITE] * written
    operator.set_signatures([signature.make_sig(f"x{i}", right) for i, right in enumerate(rights)])
    operator.add_prim_attr("side_effect_mem", True)
    operator.add_prim_attr("written", [read, written])
    return operator
