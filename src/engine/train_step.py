"""One update as compiled cells: forward, backward, accumulation, reduction over devices, clipping, optimizer."""

from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
from mindspore import Parameter, Tensor, nn, ops

from src.engine.averaged_weights import AveragedWeights
from src.engine.loss_scale import DynamicLossScale, KeptStatistics, keep_statistics
from src.model_utils.cached_graph import CachedGraph
from src.models.api import CountsPositives, Detector
from src.ops.weight_update import weight_update

SEED_PERIOD = 100_003

_assign_add = ops.MultitypeFuncGraph("assign_add")
_assign_zero = ops.MultitypeFuncGraph("assign_zero")
_copy = ops.MultitypeFuncGraph("copy")


@_assign_add.register("Tensor", "Tensor")
def _assign_add_tensor(total: Parameter, gradient: Tensor) -> Tensor:
    return ops.assign_add(total, gradient)


@_assign_zero.register("Tensor")
def _assign_zero_tensor(total: Parameter) -> Tensor:
    return ops.assign(total, ops.zeros_like(total))


@_copy.register("Tensor")
def _copy_tensor(total: Parameter) -> Tensor:
    return total * 1.0


class LossCell(nn.Cell):
    """A detector's losses as (scaled sum, terms).

    Args:
        net: detector with `losses` and `loss_names`.
        loss_scale: factor of the sum, a number or a parameter.
    """

    def __init__(self, net: Detector, loss_scale: float | Parameter) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.loss_scale = loss_scale
        self.loss_names = net.loss_names

    def construct(
        self,
        image: Tensor,
        image_info: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        masks: Tensor | None,
        normalizer: Tensor | None,
        seed: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(scaled sum, float32 scalar; terms float32 [T] in the order of `loss_names`)."""
        terms = self.net.losses(image, image_info, boxes, labels, valid, masks, normalizer, seed)
        values = [terms[name] for name in self.loss_names]
        return ops.addn(values) * self.loss_scale, ops.stack(values)


class GradientCell(nn.Cell):
    """(loss terms float32 [T], gradients scaled by `loss_scale`) of one batch on this device."""

    def __init__(self, net: Detector, parameters: list[Parameter], loss_scale: float | Parameter) -> None:
        super().__init__(auto_prefix=False)
        self.losses = LossCell(net, loss_scale)
        self.value_and_grad = ops.value_and_grad(self.losses, None, weights=tuple(parameters), has_aux=True)

    def construct(self, *batch: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Arguments as of `LossCell`."""
        (_, terms), gradients = self.value_and_grad(*batch)
        return terms, gradients


class ApplyGradients(nn.Cell):
    """Averages gradients over devices, multiplies them by `factor`, clips their global norm, updates the weights.

    `averages`, where there are any, follow the weights. With a dynamic loss scale, whose inverse is a further factor,
    an update whose gradients are not finite on some device changes nothing on any.
    """

    def __init__(
        self,
        optimizer: nn.Optimizer,
        factor: float,
        grad_clip: float,
        world: int,
        averages: AveragedWeights | None = None,
        scaling: DynamicLossScale | None = None,
        statistics: KeptStatistics | None = None,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.update = weight_update(optimizer, grad_clip)
        self.factor = Tensor(factor)
        self.world = world
        self.averages = averages
        self.scaling = scaling
        self.statistics = statistics
        if world > 1:
            self.reduce = nn.DistributedGradReducer(optimizer.parameters, True, world)
            self.all_reduce = ops.AllReduce()

    def construct(self, gradients: tuple[Tensor, ...]) -> Tensor:
        """Update the weights; what it returns, others can depend on."""
        if self.world > 1:
            gradients = self.reduce(gradients)
        if self.scaling is None:
            return self._update(gradients, self.factor)
        finite = self._finite(gradients)
        factor = self.factor / self.scaling.scale
        if finite:
            done = ops.depend(finite, self._update(gradients, factor))
        else:
            done = finite if self.statistics is None else ops.depend(finite, self.statistics.restore())
        return self.scaling(done)

    def _finite(self, gradients: tuple[Tensor, ...]) -> Tensor:
        """Whether all gradients of all devices are finite, bool scalar."""
        finite = ms.amp.all_finite(gradients)
        if self.world > 1:
            # The sums have every device's overflow in them; that all devices decide alike must not rest on rounding.
            finite = self.all_reduce(1.0 - finite.astype(ms.float32)) == 0.0
        return finite

    def _update(self, gradients: tuple[Tensor, ...], factor: Tensor) -> Any:
        updated = self.update(gradients, factor)
        if self.averages is not None:
            updated = ops.depend(updated, self.averages(updated))
        return updated


class TrainStep(CachedGraph):
    """One update from one batch."""

    def __init__(self, gradients: GradientCell, apply: ApplyGradients) -> None:
        super().__init__()
        self.gradients = gradients
        self.apply_gradients = apply

    def construct(self, *batch: Tensor | None) -> Tensor:
        """Update the weights.

        Args:
            *batch: image, image_info, boxes, labels, valid and masks (or None), the normalizer of the losses (None: the
                batch's own) and the seed of random choices.

        Returns:
            Loss terms of this device, float32 [T] in the order of `net.loss_names`.
        """
        terms, gradients = self.gradients(*batch)
        return ops.depend(terms, self.apply_gradients(gradients))


class AccumulateStep(CachedGraph):
    """Adds one batch's gradients to `sums`."""

    def __init__(self, gradients: GradientCell, sums: tuple[Parameter, ...]) -> None:
        super().__init__()
        self.gradients = gradients
        self.sums = sums
        self.hyper_map = ops.HyperMap()

    def construct(self, *batch: Tensor | None) -> Tensor:
        """Arguments and result as of `TrainStep`."""
        terms, gradients = self.gradients(*batch)
        return ops.depend(terms, self.hyper_map(_assign_add, self.sums, gradients))


class ApplyStep(CachedGraph):
    """One update from the accumulated gradients, which it then clears."""

    def __init__(self, apply: ApplyGradients, sums: tuple[Parameter, ...]) -> None:
        super().__init__()
        self.apply_gradients = apply
        self.sums = sums
        self.hyper_map = ops.HyperMap()

    def construct(self) -> tuple[Tensor, ...]:
        """Update the weights; what it returns has no meaning."""
        updated = self.apply_gradients(self.hyper_map(_copy, self.sums))
        return ops.depend(updated, self.hyper_map(_assign_zero, ops.depend(self.sums, updated)))


class MeanOverDevices(nn.Cell):
    """Mean of a tensor over the devices."""

    def __init__(self, world: int) -> None:
        super().__init__(auto_prefix=False)
        self.all_reduce = ops.AllReduce()
        self.world = world

    def construct(self, value: Tensor) -> Tensor:
        """A tensor of any shape -> its mean, the same on all devices."""
        return self.all_reduce(value) / self.world


class CountPositives(CachedGraph):
    """Positives of a batch on this device, float32 scalar."""

    def __init__(self, net: CountsPositives) -> None:
        super().__init__()
        self.net = net

    def construct(self, boxes: Tensor, labels: Tensor, valid: Tensor, image_info: Tensor) -> Tensor:
        """Arguments and result as of `CountsPositives.count_positives`."""
        return self.net.count_positives(boxes, labels, valid, image_info)


class Updater:
    """Runs updates: a plain step, or `accumulate` batches per update that count as one batch of their joint size.

    The losses of a detector that `CountsPositives` are divided by their number. To equal the joint batch, several
    batches (accumulated, or on several devices) must divide by their mean number, which is counted before the first
    forward pass. Other detectors divide by a fixed number of samples, and their losses are averaged.

    Args:
        net: a `Detector`.
        optimizer: of its trainable parameters.
        loss_scale: the loss is multiplied, the gradients divided by it; a number, or a dynamic one.
        grad_clip: maximum norm of all gradients together; 0: no clipping.
        accumulate: batches per update.
        world: number of processes.
        rank: number of this process.
        averages: of the weights, updated with them; None: there are none.
    """

    def __init__(
        self,
        net: Detector,
        optimizer: nn.Optimizer,
        loss_scale: float | DynamicLossScale = 1.0,
        grad_clip: float = 0.0,
        accumulate: int = 1,
        world: int = 1,
        rank: int = 0,
        averages: AveragedWeights | None = None,
    ) -> None:
        self.optimizer, self.averages = optimizer, averages
        self.accumulate, self.world, self.rank = accumulate, world, rank
        self.counter = CountPositives(net) if accumulate * world > 1 and isinstance(net, CountsPositives) else None
        self.mean_over_devices = MeanOverDevices(world) if world > 1 else lambda value: value
        self.scaling = loss_scale if isinstance(loss_scale, DynamicLossScale) else None
        self.statistics = None if self.scaling is None else keep_statistics(net)
        fixed = 1.0 if isinstance(loss_scale, DynamicLossScale) else loss_scale
        gradients = GradientCell(net, optimizer.parameters, fixed if self.scaling is None else self.scaling.scale)
        apply = ApplyGradients(
            optimizer, 1.0 / (fixed * accumulate), grad_clip, world, averages, self.scaling, self.statistics
        )
        if accumulate == 1:
            self.step = TrainStep(gradients, apply)
            return
        sums = optimizer.parameters.clone("accumulated", init="zeros")
        self.step = AccumulateStep(gradients, sums)
        self.apply = ApplyStep(apply, sums)

    def __call__(self, batches: Sequence[Mapping[str, Any]], learning_rate: float, step: int = 0) -> Tensor:
        """One update.

        Args:
            batches: `accumulate` batches as the loader makes them.
            learning_rate: of this update.
            step: number of this update, which random choices in the graph depend on.

        Returns:
            Loss terms float32 [T], averaged over batches and devices.
        """
        rate = self.optimizer.learning_rate
        ops.assign(rate, Tensor(learning_rate, rate.dtype))  # pynative optimizers would not see set_data
        if self.averages is not None:
            self.averages.before_update(step)
        if self.statistics is not None:
            self.statistics()
        inputs = [tuple(Tensor(batch[name]) for name in BATCH_INPUTS) for batch in batches]
        normalizer = self._normalizer(inputs)
        masks = [Tensor(batch["masks"]) if "masks" in batch else None for batch in batches]
        terms = [
            self.step(*inputs[i], masks[i], normalizer, Tensor(self.seed(step * self.accumulate + i), ms.int32))
            for i in range(len(inputs))
        ]
        if self.accumulate > 1:
            self.apply()
            terms = [sum(terms) / self.accumulate]
        return self.mean_over_devices(terms[0])

    def seed(self, forward_pass: int) -> int:
        """A different number for each forward pass of each device; it stays small, since graphs multiply int32."""
        return (forward_pass * self.world + self.rank) % SEED_PERIOD

    def _normalizer(self, inputs: list[tuple]) -> Tensor | None:
        """Mean number of positives of all batches of an update, or None when there is only one batch."""
        if self.counter is None:
            return None
        total = sum(self.counter(boxes, labels, valid, info) for _, info, boxes, labels, valid in inputs)
        mean = self.mean_over_devices(total / self.accumulate)
        return ops.maximum(mean, Tensor(1.0 / (self.accumulate * self.world), mean.dtype))


BATCH_INPUTS = ("image", "image_info", "boxes", "labels", "valid")
