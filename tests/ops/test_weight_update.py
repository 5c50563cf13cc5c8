"""Updates by the kernel: against float64 and MindSpore's optimizers, in place, with any number of threads."""

from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from src.ops.batch_norm import BatchNorm2d
from src.ops.convolution import Conv2d
from src.ops.kernel_library import optional_library
from src.ops.weight_update import moving_average, weight_update
from src.ops.weight_update.weight_update import TARGET, StandardUpdate
from tests.ops.sanitized import assert_sanitizers_find_nothing, needs_compiler

SHAPES = [(5, 3, 3, 3), (7,), (1,), (33, 17), (130, 70, 3, 3), (2,)]  # one is longer than a thread's stretch
DECAYS = [0.015625, 0.0]
STEPS = 3
# As float32 has them: 1 - beta2 is a small difference.
RATE, MOMENTUM, BETA2 = (float(np.float32(value)) for value in (0.05, 0.8, 0.999))

pytestmark = pytest.mark.skipif(optional_library(TARGET) is None, reason="no compiler here")

Make = Callable[[nn.Optimizer, float], nn.Cell]
RULES: dict[str, Callable[[list], nn.Optimizer]] = {
    "momentum": lambda groups: nn.Momentum(groups, RATE, MOMENTUM),
    "adam": lambda groups: nn.Adam(groups, RATE, MOMENTUM),
    "adamw": lambda groups: nn.AdamWeightDecay(groups, RATE, MOMENTUM),
}


class Update(nn.Cell):
    """An update as the root of a graph."""

    def __init__(self, update: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.update = update

    def construct(self, factor: Tensor, *gradients: Tensor) -> Tensor:
        """The first gradient, once the weights are updated."""
        return ops.depend(gradients[0], self.update(gradients, factor))


def arrays(seed: int, scale: float = 1.0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [np.asarray(generator.normal(size=shape) * scale, np.float32) for shape in SHAPES]


def parameters() -> list[Parameter]:
    return [Parameter(Tensor(value), name=f"p{i}") for i, value in enumerate(arrays(0))]


def build(rule: str, make: Make, grad_clip: float) -> tuple[Update, list[Parameter]]:
    own = parameters()
    groups = [{"params": own[i::2], "weight_decay": decay} for i, decay in enumerate(DECAYS)]
    return Update(make(RULES[rule]([*groups, {"order_params": own}]), grad_clip)), own


def train(rule: str, make: Make, grad_clip: float, factor: float) -> list[np.ndarray]:
    update, own = build(rule, make, grad_clip)
    for step in range(STEPS):
        update(Tensor(factor), *map(Tensor, arrays(step + 1)))
    return [parameter.asnumpy() for parameter in own]


def in_float64(rule: str, grad_clip: float, factor: float) -> list[np.ndarray]:
    """The same by NumPy: PyTorch's SGD, Kingma and Ba's Adam, AdamW without the correction of its bias."""
    weights = [value.astype(np.float64) for value in arrays(0)]
    first, second = [0.0 * w for w in weights], [0.0 * w for w in weights]
    for step in range(STEPS):
        gradients = [factor * value.astype(np.float64) for value in arrays(step + 1)]
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        share = min(1.0, grad_clip / norm) if grad_clip else 1.0
        for i, gradient in enumerate(gradients):
            decay, value = DECAYS[i % 2], share * gradient
            if rule != "adamw":
                value = value + decay * weights[i]
            if rule == "momentum":
                first[i] = MOMENTUM * first[i] + value
                weights[i] = weights[i] - RATE * first[i]
                continue
            first[i] = MOMENTUM * first[i] + (1 - MOMENTUM) * value
            second[i] = BETA2 * second[i] + (1 - BETA2) * value**2
            if rule == "adamw":
                change = first[i] / (np.sqrt(second[i]) + 1e-6) + decay * weights[i]
                weights[i] = weights[i] - RATE * change
            else:
                rate = RATE * np.sqrt(1 - BETA2 ** (step + 1)) / (1 - MOMENTUM ** (step + 1))
                weights[i] = weights[i] - rate * first[i] / (np.sqrt(second[i]) + 1e-8)
    return weights


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("grad_clip", [0.0, 1.5, 1e6])
def test_updates_equal_float64(rule: str, grad_clip: float) -> None:
    assert not isinstance(build(rule, weight_update, grad_clip)[0].update, StandardUpdate)
    expected = in_float64(rule, grad_clip, 0.25)
    for actual, wanted in zip(train(rule, weight_update, grad_clip, 0.25), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("rule", RULES)
def test_updates_equal_the_standard_ones(rule: str) -> None:
    pairs = zip(train(rule, weight_update, 1.5, 0.25), train(rule, StandardUpdate, 1.5, 0.25), strict=True)
    for actual, wanted in pairs:
        # MindSpore's Adam is that far from float64 where a second moment nearly vanishes.
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=5e-5)


def test_returns_the_norm_and_counts_the_step() -> None:
    own = parameters()
    optimizer = nn.Momentum(own, RATE, MOMENTUM)
    gradients = arrays(1)
    norm = weight_update(optimizer, 0.1)(tuple(map(Tensor, gradients)), Tensor(0.5))
    wanted = 0.5 * np.sqrt(sum((gradient.astype(np.float64) ** 2).sum() for gradient in gradients))
    np.testing.assert_allclose(norm.asnumpy(), [wanted], rtol=1e-6)
    assert int(optimizer.global_step.asnumpy()[0]) == 1


def test_a_gradient_that_is_not_finite_shows() -> None:
    update, own = build("adamw", weight_update, 1.0)
    gradients = arrays(1)
    gradients[4][3, 2, 1, 0] = np.inf
    update(Tensor(1.0), *map(Tensor, gradients))
    assert np.isnan(own[4].asnumpy()[3, 2, 1, 0])


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda own: nn.Momentum(own, RATE, MOMENTUM, use_nesterov=True),
        lambda own: nn.SGD(own, RATE),
        lambda own: nn.Momentum([{"params": own[:1], "lr": 0.1}, {"params": own[1:], "lr": 0.2}], RATE, MOMENTUM),
    ],
    ids=["nesterov", "sgd", "rates of groups"],
)
def test_other_rules_take_the_standard_update(optimizer: Callable[[list[Parameter]], nn.Optimizer]) -> None:
    assert isinstance(weight_update(optimizer(parameters()), 0.0), StandardUpdate)


def test_without_graphs_the_standard_update_is_taken() -> None:
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        assert isinstance(weight_update(nn.Momentum(parameters(), RATE, MOMENTUM), 0.0), StandardUpdate)
        assert moving_average(1) is None
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)


def test_averages_equal_float64() -> None:
    class Average(nn.Cell):
        def __init__(self) -> None:
            super().__init__(auto_prefix=False)
            self.averages = ParameterTuple(parameters())
            self.kernel = moving_average(len(SHAPES))

        def construct(self, kept: Tensor, *values: Tensor) -> Tensor:
            return self.kernel(kept, *values, *self.averages)

    cell = Average()
    expected = [value.astype(np.float64) for value in arrays(0)]
    for step, kept in enumerate((0.1, 0.75)):
        assert cell(Tensor(kept, ms.float32), *map(Tensor, arrays(step + 1))).asnumpy() == np.float32(kept)
        kept = float(np.float32(kept))
        expected = [kept * e + (1 - kept) * v for e, v in zip(expected, arrays(step + 1), strict=True)]
    for average, wanted in zip(cell.averages, expected, strict=True):
        np.testing.assert_allclose(average.asnumpy(), wanted, rtol=1e-6, atol=1e-6)


class Step(nn.Cell):
    """A training step of a small network of this project's layers."""

    def __init__(self, make: Make) -> None:
        super().__init__(auto_prefix=False)
        self.net = nn.SequentialCell(Conv2d(3, 8, 3, pad_mode="pad", padding=1), BatchNorm2d(8), Conv2d(8, 4, 1))
        self.net.set_train()
        self.update = make(nn.AdamWeightDecay(self.net.trainable_params(), RATE, MOMENTUM), 1.0)
        self.gradients = ops.grad(self.loss, None, weights=tuple(self.net.trainable_params()))
        self.factor = Tensor(1.0)

    def loss(self, x: Tensor) -> Tensor:
        return (self.net(x) ** 2).mean()

    def construct(self, x: Tensor) -> Tensor:
        """The input, once the weights are updated."""
        return ops.depend(x, self.update(self.gradients(x), self.factor))


def test_weights_that_a_network_computes_with_are_written() -> None:
    """What MindSpore does not know to be written may be a copy of the parameter, made when the network was."""
    ms.set_seed(1)
    first = Step(weight_update)
    ms.set_seed(1)
    steps = [first, Step(StandardUpdate)]
    x = Tensor(np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32))
    before = [parameter.asnumpy().copy() for parameter in steps[1].net.trainable_params()]
    for step in steps:
        for _ in range(2):
            step(x)
    weights = [step.net.trainable_params() for step in steps]
    for actual, wanted, start in zip(*weights, before, strict=True):
        assert np.abs(actual.asnumpy() - start).max() > 0.01, actual.name
        np.testing.assert_allclose(actual.asnumpy(), wanted.asnumpy(), rtol=1e-5, atol=5e-5, err_msg=actual.name)


@needs_compiler
def test_sanitizers_find_nothing_and_threads_change_nothing(tmp_path: Path) -> None:
    assert_sanitizers_find_nothing("weight_update", tmp_path)
