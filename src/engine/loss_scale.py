"""Dynamic loss scaling (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2): as large as the gradients allow.

Small gradients vanish in half precision unless the loss is multiplied; by how much shows when a gradient overflows. An
update whose gradients are not finite is skipped, and the scale halved; after `window` updates without one it doubles.
"""

from typing import NamedTuple

import mindspore as ms
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from src.engine.averaged_weights import RUNNING_STATISTICS
from src.schema import Config
from src.weights.checkpoint import TrainingState

MOST_SKIPPED_IN_A_ROW = 20
COUNTERS = ("good_steps", "skipped_in_a_row", "skipped_steps")  # as in `TrainingState`

_copy_to = ops.MultitypeFuncGraph("copy_to")


@_copy_to.register("Tensor", "Tensor")
def _copy_tensor_to(target: Parameter, source: Parameter) -> Tensor:
    return ops.assign(target, source)


class ScaleRules(NamedTuple):
    """How the scale changes.

    Attributes:
        start: the first scale.
        window: updates without an overflow after which it doubles.
        least: it is never halved below this.
        greatest: it is never doubled above this.
    """

    start: float = 65536.0
    window: int = 2000
    least: float = 1.0
    greatest: float = 2.0**24


class DynamicLossScale(nn.Cell):
    """The scale and what happened to it, as parameters of the training step's graph."""

    def __init__(self, rules: ScaleRules) -> None:
        super().__init__(auto_prefix=False)
        self.window, self.least, self.greatest = rules.window, rules.least, rules.greatest
        self.scale = Parameter(Tensor(rules.start, ms.float32), name="loss_scale", requires_grad=False)
        self.good_steps = _counter("good_steps")
        self.skipped_in_a_row = _counter("skipped_in_a_row")
        self.skipped_steps = _counter("skipped_steps")

    def construct(self, finite: Tensor) -> Tensor:
        """Take note of an update, whose gradients were all `finite` (bool scalar) or not; returns the new scale."""
        applied = finite.astype(ms.int32)
        good_steps = (self.good_steps + 1) * applied
        grows = good_steps >= self.window
        doubled = ops.minimum(self.scale * 2.0, self.greatest)
        halved = ops.maximum(self.scale * 0.5, self.least)
        scale = ops.where(finite, ops.where(grows, doubled, self.scale), halved)
        ops.assign(self.good_steps, ops.where(grows, ops.zeros_like(good_steps), good_steps))
        ops.assign(self.skipped_in_a_row, (self.skipped_in_a_row + 1) * (1 - applied))
        ops.assign(self.skipped_steps, self.skipped_steps + (1 - applied))
        return ops.assign(self.scale, scale)

    def note_in(self, state: TrainingState) -> None:
        """Write the present values into `state`."""
        state.loss_scale = float(self.scale.asnumpy())
        for name in COUNTERS:
            setattr(state, name, int(getattr(self, name).asnumpy()))

    def restore(self, state: TrainingState) -> None:
        """Go on from the values in `state`; the scale is brought between the least and the greatest."""
        scale = min(max(state.loss_scale, self.least), self.greatest)
        self.scale.set_data(Tensor(scale, ms.float32))
        for name in COUNTERS:
            getattr(self, name).set_data(Tensor(getattr(state, name), ms.int32))


class KeptStatistics(nn.Cell):
    """The running statistics of batch normalization before an update, which has changed them when it is found bad."""

    def __init__(self, statistics: list[Parameter]) -> None:
        super().__init__(auto_prefix=False)
        self.statistics = ParameterTuple(statistics)
        self.kept = self.statistics.clone("kept", init="same")
        for kept in self.kept:
            kept.requires_grad = False
        self.hyper_map = ops.HyperMap()

    def construct(self) -> tuple[Tensor, ...]:
        """Keep the present values; what it returns has no meaning."""
        return self.hyper_map(_copy_to, self.kept, self.statistics)

    def restore(self) -> tuple[Tensor, ...]:
        """Let the statistics be the kept ones; others can depend on what it returns."""
        return self.hyper_map(_copy_to, self.statistics, self.kept)


def keep_statistics(net: nn.Cell) -> KeptStatistics | None:
    """The running statistics of `net`; None where it has none."""
    statistics = [p for name, p in net.parameters_dict().items() if name.endswith(RUNNING_STATISTICS)]
    return KeptStatistics(statistics) if statistics else None


def build_loss_scale(config: Config) -> float | DynamicLossScale:
    """The factor that `config.loss_scale` names, or a dynamic one."""
    if not isinstance(config.loss_scale, str):
        return config.loss_scale
    return DynamicLossScale(ScaleRules(config.scale_start, config.scale_window, config.scale_min, config.scale_max))


def _counter(name: str) -> Parameter:
    return Parameter(Tensor(0, ms.int32), name=name, requires_grad=False)
