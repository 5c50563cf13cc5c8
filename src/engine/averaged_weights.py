"""An exponential moving average of a network's weights: what is evaluated is steadier than what is trained."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from src.ops.weight_update import moving_average

RUNNING_STATISTICS = ("moving_mean", "moving_variance")

_average = ops.MultitypeFuncGraph("average")


@_average.register("Tensor", "Tensor", "Tensor")
def _average_tensor(kept: Tensor, average: Parameter, weight: Tensor) -> Tensor:
    return ops.assign(average, average * kept + weight * (1 - kept))


class AveragedWeights(nn.Cell):
    """The average of each trainable weight and of the running statistics of batch normalization.

    After each update `average = k * average + (1 - k) * weight`, with `k = min(decay, (1 + t) / (10 + t))` after t
    updates, the ramp of TensorFlow's `ExponentialMovingAverage`: the first averages follow the weights closely.

    Args:
        net: network whose weights are averaged; the averages start as they are.
        decay: of the average, 0 to 1; 0.999 averages over about 1,000 updates.
    """

    def __init__(self, net: nn.Cell, decay: float) -> None:
        super().__init__(auto_prefix=False)
        self.decay = decay
        self.weights = ParameterTuple(
            parameter
            for name, parameter in net.parameters_dict().items()
            if parameter.requires_grad or name.endswith(RUNNING_STATISTICS)
        )
        self.names = [parameter.name for parameter in self.weights]
        self.averages = self.weights.clone("average", init="same")
        for average in self.averages:
            average.requires_grad = False
        self.kept = Parameter(Tensor(0.0), name="average_kept", requires_grad=False)
        self.hyper_map = ops.HyperMap()
        self.kernel = moving_average(len(self.weights))

    def construct(self, updated: Any) -> Any:
        """Take the weights into the averages once they are `updated`; what it returns, others can depend on."""
        kept = ops.depend(self.kept, updated)
        if self.kernel is not None:
            return self.kernel(kept, *self.weights, *self.averages)
        return self.hyper_map(ops.partial(_average, kept), self.averages, self.weights)

    def share_kept(self, step: int) -> float:
        """How much of the averages the update after `step` others keeps."""
        return min(self.decay, (1 + step) / (10 + step))

    def before_update(self, step: int) -> None:
        """Let the update after `step` others keep so much of the averages."""
        ops.assign(self.kept, Tensor(self.share_kept(step), self.kept.dtype))

    def restart(self) -> None:
        """Let the averages be the present weights."""
        for average, weight in zip(self.averages, self.weights, strict=True):
            average.set_data(Tensor(weight.asnumpy()))

    def named(self) -> dict[str, Parameter]:
        """{name of a weight: its average}."""
        return dict(zip(self.names, self.averages, strict=True))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network computes with the averages within the block, and with its own weights after it."""
        own = [weight.asnumpy().copy() for weight in self.weights]
        for weight, average in zip(self.weights, self.averages, strict=True):
            weight.set_data(Tensor(average.asnumpy()))
        try:
            yield
        finally:
            for weight, array in zip(self.weights, own, strict=True):
                weight.set_data(Tensor(array))
