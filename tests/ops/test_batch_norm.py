"""The CPU kernels of batch normalization, against sums in float64 and MindSpore's operators."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.blocks.layers import ConvModule, Norm, use_standard_operators
from src.common.errors import UserError
from src.engine.train_step import Updater
from src.ops import cpu_kernels
from src.ops import kernel_library as libraries
from src.ops.batch_norm import BatchNorm2d
from src.ops.batch_norm import batch_norm as module
from src.ops.batch_norm.batch_norm import FOLLOWING
from src.ops.cpu_kernels import cpu_library
from src.ops.precision import precision_of
from tests.engine.toy_detector import ToyDetector, toy_batch
from tests.ops.sanitized import assert_sanitizers_find_nothing, needs_compiler
from tests.ops.test_roi_kernels import Entries

EPSILON, SHARE = 1e-3, 0.1

needs_kernels = pytest.mark.skipif(cpu_library(module.TARGET) is None, reason="no compiler")
MODES = pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE], ids=["pynative", "graph"])
# One pixel, one value per channel, planes that fill no vector, odd ones, several blocks, one channel, many.
SHAPES = [
    (1, 3, 1, 1),
    (5, 7, 1, 1),
    (1, 8, 1, 2),
    (2, 3, 5, 7),
    (8, 64, 8, 8),
    (3, 1, 33, 31),
    (1, 2, 127, 129),
    (2, 70, 64, 64),
]


@pytest.fixture(autouse=True)
def restore_mode():
    before = ms.get_context("mode")
    yield
    ms.set_context(mode=before)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def assert_close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 1e-6, size: float | None = None) -> None:
    """`size`: of the terms that cancel out in what is expected."""
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * (size or np.abs(expected).max())


class Exact:
    """Normalization and gradients in float64; the statistics are the batch's unless they are given."""

    def __init__(self, x, dout, gamma, beta, mean=None, variance=None) -> None:
        x, dout = x.astype(np.float64), dout.astype(np.float64)
        axes, spread = (0, 2, 3), (1, -1, 1, 1)
        of_batch = mean is None
        self.mean, self.variance = (x.mean(axes), x.var(axes)) if of_batch else (mean, variance)
        self.inverse = 1 / np.sqrt(self.variance + np.float64(np.float32(EPSILON)))
        normal = (x - self.mean.reshape(spread)) * self.inverse.reshape(spread)
        self.out = normal * gamma.reshape(spread) + beta.reshape(spread)
        self.dgamma, self.dbeta = (dout * normal).sum(axes), dout.sum(axes)
        self.size = np.abs(dout * (gamma * self.inverse).reshape(spread)).max()
        if of_batch:
            count = x.size / x.shape[1]
            dout = dout - (self.dbeta.reshape(spread) + normal * self.dgamma.reshape(spread)) / count
        self.dx = dout * (gamma * self.inverse).reshape(spread)


def operands(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """x, dout, gamma, beta, running mean and running variance."""
    channels = shape[1]
    scale, offset = random(channels, 1, 1, seed=1) + 2, 5 * random(channels, 1, 1, seed=2)
    vectors = [random(channels, seed=seed) for seed in (4, 5, 6, 7)]
    return random(*shape) * scale + offset, random(*shape, seed=3), *vectors[:3], np.abs(vectors[3]) + 0.5


def followed(out: np.ndarray, following: str, *shortcut: np.ndarray) -> np.ndarray:
    return np.maximum(sum(shortcut, out), 0) if following else out


def shortcuts(shape: tuple[int, ...], following: str) -> list[np.ndarray]:
    return [random(*shape, seed=8)] if following == "AddRelu" else []


def unwritten(*like: np.ndarray) -> list[np.ndarray]:
    return [np.full_like(array, np.nan) for array in like]


@needs_kernels
@pytest.mark.parametrize("following", FOLLOWING)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_by_batch_statistics(shape: tuple[int, ...], following: str) -> None:
    x, dout, gamma, beta, running_mean, running_variance = operands(shape)
    settings = np.array([EPSILON, SHARE], np.float32)
    entries, exact = Entries(Path(cpu_library(module.TARGET))), Exact(x, dout, gamma, beta)
    shortcut = shortcuts(shape, following)
    results = out, mean, inverse, shift, new_mean, new_variance = unwritten(x, *[gamma] * 5)
    inputs = (x, gamma, beta, running_mean, running_variance, settings, *shortcut)
    assert entries.call(f"BatchNorm{following}", *inputs, *results) == 0
    count = x.size / shape[1]
    unbiased = exact.variance * count / max(count - 1, 1)
    assert_close(out, followed(exact.out, following, *shortcut))
    assert_close(mean, exact.mean)
    assert_close(inverse, exact.inverse)
    assert_close(new_mean, (1 - SHARE) * running_mean + SHARE * exact.mean)
    assert_close(new_variance, (1 - SHARE) * running_variance + SHARE * unbiased)
    gradients = unwritten(x, gamma, beta, *shortcut)
    further = {"": [], "Relu": [shift], "AddRelu": [out]}[following]
    assert entries.call(f"BatchNorm{following}Gradient", dout, x, gamma, mean, inverse, *further, *gradients) == 0
    dx, dgamma, dbeta, *dshortcut = gradients
    passed = dout * (out > 0) if following else dout
    exact = Exact(x, passed, gamma, beta)
    # By means and deviations that were rounded to float32.
    assert_close(dx, exact.dx, 2e-6, exact.size)
    assert_close(dgamma, exact.dgamma, 2e-6, max(np.abs(exact.dgamma).max(), 1e-2))
    assert_close(dbeta, exact.dbeta)
    np.testing.assert_array_equal(dshortcut, [passed] * len(shortcut))


@needs_kernels
@pytest.mark.parametrize("following", FOLLOWING)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_by_stored_statistics(shape: tuple[int, ...], following: str) -> None:
    x, dout, gamma, beta, mean, variance = operands(shape)
    settings = np.array([EPSILON, SHARE], np.float32)
    entries, shortcut = Entries(Path(cpu_library(module.TARGET))), shortcuts(shape, following)
    out, dx, dgamma, dbeta, *dshortcut = unwritten(x, x, gamma, beta, *shortcut)
    layer = (gamma, beta, mean, variance, settings)
    assert entries.call(f"StoredBatchNorm{following}", x, *layer, *shortcut, out) == 0
    activated = [out] if following else []
    inputs = (dout, gamma, variance, settings, *activated)
    assert entries.call(f"StoredBatchNorm{following}InputGradient", *inputs, dx, *dshortcut) == 0
    if following == "Relu":
        assert entries.call("StoredBatchNormReluParameterGradient", dout, x, *layer, dgamma, dbeta) == 0
    else:
        inputs = (*dshortcut, dout)[0], x, mean, variance, settings
        assert entries.call("StoredBatchNormParameterGradient", *inputs, dgamma, dbeta) == 0
    passed = dout * (out > 0) if following else dout
    exact = Exact(x, passed, gamma, beta, mean, variance)
    expected = (followed(exact.out, following, *shortcut), exact.dx, exact.dgamma, exact.dbeta)
    for ours, theirs in zip((out, dx, dgamma, dbeta), expected, strict=True):
        assert_close(ours, theirs)
    np.testing.assert_array_equal(dshortcut, [passed] * len(shortcut))


@needs_kernels
def test_variance_beside_a_large_mean() -> None:
    """One pass of sums and sums of squares would have lost it."""
    x = random(4, 2, 40, 40) + 1000
    ones = np.ones(2, np.float32)
    results = out, _, inverse, *_ = unwritten(x, *[ones] * 5)
    settings = np.array([EPSILON, SHARE], np.float32)
    inputs = (x, ones, 0 * ones, 0 * ones, ones, settings)
    assert Entries(Path(cpu_library(module.TARGET))).call("BatchNorm", *inputs, *results) == 0
    exact = Exact(x, x, ones, 0 * ones)
    assert_close(inverse, exact.inverse)
    assert_close(out, exact.out)


@needs_kernels
def test_other_shapes_and_types_are_refused() -> None:
    entries, x, settings = Entries(Path(cpu_library(module.TARGET))), random(2, 3, 4, 4), np.ones(2, np.float32)
    one = np.ones(3, np.float32)
    assert entries.call("StoredBatchNorm", x, one, one, one, one, settings, x.copy()) == 0
    for wrong in ([x, one[:2]], [x.astype(np.float16), one], [x[0], one], [x[:0], one]):
        assert entries.call("StoredBatchNorm", *wrong, one, one, one, settings, x.copy()) == 1
    layer = (one, one, one, one, settings)
    assert entries.call("StoredBatchNormAddRelu", x, *layer, x, x.copy()) == 0
    assert entries.call("StoredBatchNormAddRelu", x, *layer, x[:1], x.copy()) == 1
    assert entries.call("StoredBatchNormRelu", x, *layer, x, x.copy()) == 1


class Layers(nn.Cell):
    """A layer that is called and updates its statistics several times, and one by stored statistics."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.often = BatchNorm2d(3, EPSILON, 1 - SHARE)
        self.stored = BatchNorm2d(3, EPSILON, 1 - SHARE, use_batch_statistics=False)
        for seed, parameter in enumerate(self.get_parameters()):
            parameter.set_data(ms.Tensor(np.abs(random(3, seed=seed)) + 0.5))
        for parameter in self.stored.trainable_params():
            parameter.requires_grad = not frozen

    def construct(self, x):
        first = self.often(x)
        second = self.stored.with_relu(first)
        third = self.often.with_relu(second)
        fourth = self.stored.with_shortcut_and_relu(ops.tanh(third), first)
        return self.often.with_shortcut_and_relu(fourth, third - 1) - self.stored(fourth)


class OutputAndGradients(nn.Cell):
    """Of a network, with respect to its input and parameters; its forward pass runs once."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.net = net
        self.grad = ms.value_and_grad(self.value, 0, net.trainable_params(), has_aux=True)

    def value(self, x, dout):
        out = self.net(x)
        return (out * dout).sum(), out

    def construct(self, x, dout):
        (_, out), (dx, gradients) = self.grad(x, dout)
        return out, dx, *gradients


def after_a_step(kernels: bool, frozen: bool) -> list[np.ndarray]:
    net = Layers(frozen)
    net.set_train()
    assert net.often.kernel_library is not None and net.stored.kernel_library is not None
    if not kernels:
        use_standard_operators(net)
        assert net.often.kernel_library is None and net.stored.kernel_library is None
    found = OutputAndGradients(net)(ms.Tensor(random(2, 3, 5, 7) + 1), ms.Tensor(random(2, 3, 5, 7, seed=1)))
    net.set_train(False)
    tested = net(ms.Tensor(random(2, 3, 5, 7)))
    return [tensor.asnumpy() for tensor in (*found, *net.get_parameters(), tested)]


@needs_kernels
@MODES
@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
def test_layers_are_mindspores(mode: int, frozen: bool) -> None:
    ms.set_context(mode=mode)
    ours, theirs = after_a_step(True, frozen), after_a_step(False, frozen)
    assert len(ours) == 4 + (not frozen) * 2 + 8 + 1
    for actual, expected in zip(ours, theirs, strict=True):
        assert_close(actual, expected, 5e-6)


class NarrowDetector(ToyDetector):
    """The toy behind convolutions with normalizations, the last of which has stored statistics."""

    def __init__(self) -> None:
        super().__init__()
        ms.set_seed(1)
        stored = Norm(stored_statistics=True)
        modules = [ConvModule(3, 8, 3), ConvModule(8, 8, 3), ConvModule(8, 3, 1, norm=stored, act="none")]
        self.features = nn.SequentialCell(modules)

    def losses(self, images, *batch, **options):
        return super().losses(self.features(images), *batch, **options)


@needs_kernels
def test_a_training_has_the_same_losses() -> None:
    losses = []
    for kernels in (True, False):
        net = NarrowDetector()
        net.set_train()
        if not kernels:
            for conv_module in net.features:
                use_standard_operators(conv_module.bn)
        update = Updater(net, nn.Momentum(net.trainable_params(), learning_rate=0.1, momentum=0.9))
        losses.append([update([toy_batch(8, step)], 0.01, step).asnumpy() for step in range(6)])
    assert np.array(losses[0]).max() > 1.5 * np.array(losses[0]).min()
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@needs_kernels
def test_one_value_per_channel_leaves_the_running_variance_finite() -> None:
    """MindSpore's operator divides by zero."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    layer = BatchNorm2d(3)
    layer.set_train()
    np.testing.assert_array_equal(layer(ms.Tensor(random(1, 3, 1, 1))).asnumpy(), np.zeros((1, 3, 1, 1)))
    np.testing.assert_allclose(layer.moving_variance.asnumpy(), 0.9, rtol=1e-6)


@needs_kernels
def test_half_precision_is_left_to_mindspore() -> None:
    ms.set_context(mode=ms.PYNATIVE_MODE)
    ours, theirs = BatchNorm2d(3), nn.BatchNorm2d(3)
    ours.set_precision(precision_of("O3", "float16"))
    x = ms.Tensor(random(2, 3, 5, 7)).astype(ms.float16)
    for layer in (ours, theirs):
        layer.set_train()
    np.testing.assert_array_equal(ours(x).asnumpy(), theirs(x).asnumpy())
    np.testing.assert_array_equal(ours.with_shortcut_and_relu(x, x).asnumpy(), ops.relu(theirs(x) + x).asnumpy())
    np.testing.assert_array_equal(ours.moving_variance.asnumpy(), theirs.moving_variance.asnumpy())


@needs_kernels
@pytest.mark.parametrize("level", ["O2", "auto"])
def test_relu_between_types(level: str) -> None:
    """Layers that take or give half precision, and shortcuts in it."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    layer = BatchNorm2d(3, use_batch_statistics=False)
    layer.set_precision(precision_of(level, "float16"))
    x, shortcut = ms.Tensor(random(2, 3, 5, 7)).astype(ms.float16), ms.Tensor(random(2, 3, 5, 7, seed=1))
    for added in (None, shortcut, shortcut.astype(ms.float16)):
        expected = layer(x) if added is None else layer(x) + added
        actual = layer.with_relu(x) if added is None else layer.with_shortcut_and_relu(x, added)
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual.asnumpy(), ops.relu(expected).asnumpy(), rtol=1e-6, atol=1e-6)


def test_without_compiler_mindspore_computes_and_one_warning_says_why(monkeypatch, caplog) -> None:
    def missing(_target: str):
        raise UserError("no compiler")

    monkeypatch.setattr(libraries, "library", missing)
    libraries.optional_library.cache_clear()
    layer = BatchNorm2d(8)
    assert layer.kernel_library is None
    assert layer(ms.Tensor(random(1, 8, 4, 4))).shape == (1, 8, 4, 4)
    BatchNorm2d(8)
    libraries.optional_library.cache_clear()
    assert [record.message for record in caplog.records] == [
        "CPU batch normalization: not compiled, a slower implementation stands in: no compiler"
    ]


def test_other_devices_have_mindspores_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "current_target", lambda: "GPU")
    layer = BatchNorm2d(8)
    assert layer.kernel_library is None


@needs_compiler
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    assert_sanitizers_find_nothing("batch_norm", tmp_path, "-Wno-psabi")
