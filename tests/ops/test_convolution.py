"""The CPU kernels of convolutions and fully connected layers, against MindSpore's operators and plain loops."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.blocks.layers import Conv2d, Dense, PointwiseConvolution, conv2d, use_standard_operators
from src.common.errors import UserError
from src.ops import kernel_library as libraries
from src.ops.convolution import operators as fast_conv2d
from tests.ops.sanitized import assert_sanitizers_find_nothing, needs_compiler

ROOT = Path(__file__).parents[2]

needs_kernels = pytest.mark.skipif(fast_conv2d._kernels() is None, reason="no compiler, or no AVX2, or switched off")
MODES = pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE], ids=["pynative", "graph"])


@pytest.fixture(autouse=True)
def restore_mode():
    before = ms.get_context("mode")
    yield
    ms.set_context(mode=before)


def random(*shape: int, seed: int = 0) -> ms.Tensor:
    return ms.Tensor(np.random.default_rng(seed).standard_normal(shape, np.float32))


class OutputAndGradients(nn.Cell):
    """layer(x) and the gradients of sum(layer(x) * dout) with respect to x and the parameters."""

    def __init__(self, layer: nn.Cell) -> None:
        super().__init__()
        self.layer = layer
        self.parameters = ms.ParameterTuple(layer.trainable_params())
        self.grad = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)

    def construct(self, x, dout):
        return self.layer(x), self.grad(self.layer, self.parameters)(x, dout)


def results(layer: nn.Cell, x: ms.Tensor, dout: ms.Tensor) -> list[np.ndarray]:
    out, (inputs, parameters) = OutputAndGradients(layer)(x, dout)
    return [tensor.asnumpy() for tensor in (out, *inputs, *parameters)]


def assert_equal_to_standard(make: Callable[[], nn.Cell], x: ms.Tensor, out_shape: tuple[int, ...]) -> None:
    layer, standard = make(), make()
    for ours, theirs in zip(layer.get_parameters(), standard.get_parameters(), strict=True):
        ours.set_data(random(*ours.shape, seed=len(ours.shape)))
        theirs.set_data(ours)
    use_standard_operators(standard)
    assert layer.kernel is not None and standard.kernel is None
    dout = random(*out_shape, seed=9)
    for actual, expected in zip(results(layer, x, dout), results(standard, x, dout), strict=True):
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() <= 2e-6 * np.abs(expected).max()


# Batch, input channels, output channels, kernel, stride, height, width.
SHAPES = [
    (2, 16, 24, 3, 1, 14, 13),
    (1, 3, 64, 7, 2, 33, 40),
    (1, 8, 16, 1, 2, 9, 9),
    (3, 16, 8, 1, 1, 7, 5),
    (2, 70, 30, 3, 2, 14, 13),
    (1, 300, 64, 1, 1, 40, 41),
    (4, 33, 17, 5, 1, 3, 2),
    (1, 16, 8, 3, 2, 1, 1),
    (9, 64, 72, 3, 1, 14, 14),
]


@needs_kernels
@MODES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolution_is_mindspores(mode: int, shape: tuple[int, ...]) -> None:
    ms.set_context(mode=mode)
    batch, ins, outs, kernel, stride, height, width = shape
    out_shape = (batch, outs, -(-height // stride), -(-width // stride))
    assert_equal_to_standard(
        lambda: conv2d(ins, outs, kernel, stride, has_bias=True), random(batch, ins, height, width), out_shape
    )


@needs_kernels
@MODES
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 10, 10), (2, 13, 17), (1, 2, 1)], ids=str)
def test_dilated_convolution_is_mindspores(mode: int, has_bias: bool, shape: tuple[int, int, int]) -> None:
    ms.set_context(mode=mode)
    batch, height, width = shape
    assert_equal_to_standard(
        lambda: conv2d(40, 24, 3, has_bias=has_bias, dilation=3),
        random(batch, 40, height, width),
        (batch, 24, height, width),
    )


@needs_kernels
def test_dilated_convolution_has_its_gradient_in_every_run() -> None:
    """MindSpore's gradient of `ops.pad` is right in the first run of a graph alone."""
    ms.set_context(mode=ms.GRAPH_MODE)
    layer = nn.SequentialCell(conv2d(64, 64, 3, has_bias=True), nn.ReLU(), conv2d(64, 64, 3, has_bias=True, dilation=3))
    net, x, dout = OutputAndGradients(layer), random(1, 64, 10, 10), random(1, 64, 10, 10, seed=1)
    runs = [net(x, dout) for _ in range(6)]
    for out, (inputs, parameters) in runs[1:]:
        np.testing.assert_array_equal(out.asnumpy(), runs[0][0].asnumpy())
        for again, first in zip((*inputs, *parameters), (*runs[0][1][0], *runs[0][1][1]), strict=True):
            np.testing.assert_array_equal(again.asnumpy(), first.asnumpy())


@needs_kernels
@MODES
@pytest.mark.parametrize("shape", [(17, 50, 30), (1, 3, 1), (100, 1000, 81)], ids=str)
def test_dense_is_mindspores(mode: int, shape: tuple[int, int, int]) -> None:
    ms.set_context(mode=mode)
    rows, ins, outs = shape
    assert_equal_to_standard(lambda: Dense(ins, outs), random(rows, ins), (rows, outs))


@needs_kernels
@MODES
def test_computed_weights_get_their_gradient(mode: int) -> None:
    ms.set_context(mode=mode)

    class Doubled(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.weight = ms.Parameter(random(5, 9, 1, 1), name="weight")
            self.convolve = PointwiseConvolution()

        @property
        def kernel(self):
            return self.convolve.kernel

        def construct(self, x):
            return self.convolve(x, self.weight * 2)

    assert_equal_to_standard(Doubled, random(2, 9, 4, 5), (2, 5, 4, 5))


@needs_kernels
def test_layers_of_one_graph_do_not_mix() -> None:
    """MindSpore may take custom operators for one another."""
    ms.set_context(mode=ms.GRAPH_MODE)

    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.SequentialCell(
                conv2d(8, 16, 3, 2), nn.ReLU(), conv2d(16, 16, 3), conv2d(16, 8, 1, 2), nn.Flatten(), Dense(8 * 9, 10)
            )

        @property
        def kernel(self):
            return self.layers[0].kernel

        def construct(self, x):
            return self.layers(x)

    assert_equal_to_standard(Net, random(2, 8, 11, 12), (2, 10))


@needs_kernels
@MODES
def test_transposed_input(mode: int) -> None:
    ms.set_context(mode=mode)
    layer, standard = conv2d(16, 8, 3), conv2d(16, 8, 3)
    standard.weight.set_data(layer.weight)
    standard.use_standard_operators()
    x = random(2, 10, 12, 16).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(layer(x).asnumpy(), standard(x).asnumpy(), atol=1e-5)


@needs_kernels
def test_gradient_by_finite_differences() -> None:
    ms.set_context(mode=ms.PYNATIVE_MODE)
    layer, x, dout = conv2d(2, 8, 3, 2), random(1, 2, 5, 4), random(1, 8, 3, 2, seed=1)
    _, dx, dweight = results(layer, x, dout)
    weight = layer.weight.asnumpy()

    def slope(x_step: np.ndarray | float, weight_step: np.ndarray | float) -> float:
        values = []
        for sign in (1, -1):
            layer.weight.set_data(ms.Tensor((weight + sign * weight_step).astype(np.float32)))
            out = layer(ms.Tensor((x.asnumpy() + sign * x_step).astype(np.float32))).asnumpy()
            values.append((out.astype(np.float64) * dout.asnumpy()).sum())
        return (values[0] - values[1]) / 2

    for index in np.ndindex(dx.shape):
        step = np.zeros_like(dx)
        step[index] = 0.5  # the function is linear in x, and in the weights
        assert slope(step, 0.0) == pytest.approx(0.5 * dx[index], abs=1e-4)
    for index in np.ndindex(dweight.shape):
        step = np.zeros_like(dweight)
        step[index] = 0.5
        assert slope(0.0, step) == pytest.approx(0.5 * dweight[index], abs=1e-4)


@needs_kernels
def test_gradient_is_the_same_again() -> None:
    layer, x, dout = conv2d(40, 24, 3), random(3, 40, 31, 29), random(3, 24, 31, 29, seed=1)
    for first, second in zip(results(layer, x, dout), results(layer, x, dout), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "settings",
    [
        {"group": 2, "pad_mode": "pad", "padding": 1},
        {"pad_mode": "same"},
        {"pad_mode": "pad", "padding": 0},
        {"pad_mode": "pad", "padding": 1, "stride": 3},
        {"pad_mode": "pad", "padding": 1, "dilation": 2},
        {"pad_mode": "pad", "padding": 2, "dilation": 2, "stride": 2},
    ],
    ids=str,
)
def test_other_convolutions_are_left_to_mindspore(settings: dict) -> None:
    ms.set_context(mode=ms.PYNATIVE_MODE)
    layer, standard = Conv2d(4, 8, 3, **settings), nn.Conv2d(4, 8, 3, **settings)
    assert layer.kernel is None
    standard.weight.set_data(layer.weight)
    x = random(1, 4, 9, 9)
    np.testing.assert_array_equal(layer(x).asnumpy(), standard(x).asnumpy())


# Batch, input channels, output channels, height, width: from which the filtering by tiles is taken, and large sums.
TILED = [(1, 256, 96, 40, 40), (2, 33, 47, 31, 35), (1, 512, 64, 25, 25), (16, 64, 64, 16, 16)]


def called(library: ctypes.CDLL, name: str, *arrays: np.ndarray) -> np.ndarray:
    """The last array, written by an entry of the library as MindSpore calls it."""
    count = len(arrays)
    shapes = [(ctypes.c_int64 * array.ndim)(*array.shape) for array in arrays]
    code = getattr(library, name)(
        count,
        (ctypes.c_void_p * count)(*[array.ctypes.data for array in arrays]),
        (ctypes.c_int * count)(*[array.ndim for array in arrays]),
        (ctypes.c_void_p * count)(*[ctypes.addressof(shape) for shape in shapes]),
        (ctypes.c_char_p * count)(*[b"float32"] * count),
        None,
        None,
    )
    assert code == 0
    return arrays[-1]


def in_float64(x: np.ndarray, weight: np.ndarray, dout: np.ndarray) -> list[np.ndarray]:
    """A 3x3 convolution and its gradients of x and weight."""
    height, width = x.shape[2:]
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    out, dx, dweight = np.zeros(dout.shape), np.zeros(padded.shape), np.zeros(weight.shape)
    for ky, kx in np.ndindex(3, 3):
        window = (..., slice(ky, ky + height), slice(kx, kx + width))
        tap = weight[:, :, ky, kx].astype(np.float64)
        out += np.einsum("oc,bchw->bohw", tap, padded[window], optimize=True)
        dx[window] += np.einsum("oc,bohw->bchw", tap, dout, optimize=True)
        dweight[:, :, ky, kx] = np.einsum("bohw,bchw->oc", dout, padded[window], optimize=True)
    return [out, dx[:, :, 1:-1, 1:-1], dweight]


@needs_kernels
@pytest.mark.parametrize("shape", TILED, ids=str)
def test_winograds_filtering_is_exact_to_a_hundred_thousandth(shape: tuple[int, ...]) -> None:
    batch, ins, outs, height, width = shape
    rng = np.random.default_rng(1)
    x, dout = (rng.standard_normal((batch, n, height, width), np.float32) for n in (ins, outs))
    weight = rng.standard_normal((outs, ins, 3, 3), np.float32)
    library = ctypes.CDLL(fast_conv2d._kernels())
    found = [
        called(library, "Conv2d", x, weight, np.full_like(dout, np.nan)),
        called(library, "Conv2dInputGradient", dout, weight, x, np.full_like(x, np.nan)),
        called(library, "Conv2dWeightGradient", x, dout, weight, np.full_like(weight, np.nan)),
    ]
    for actual, expected in zip(found, in_float64(x, weight, dout), strict=True):
        assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


DIRECTLY = """
import sys
import numpy as np
from tests.ops import test_convolution as t
x, weight = t.random(1, 64, 32, 32).asnumpy(), t.random(64, 64, 3, 3).asnumpy()
library = t.ctypes.CDLL(t.fast_conv2d._kernels())
np.save(sys.argv[1], t.called(library, "Conv2d", x, weight, np.empty_like(x)))
"""


@needs_kernels
def test_direct_kernels_can_be_kept(tmp_path: Path) -> None:
    results = []
    for value in ("1", "direct"):
        environment = {**os.environ, fast_conv2d.SWITCH: value}
        path = tmp_path / f"{value}.npy"
        subprocess.run([sys.executable, "-c", DIRECTLY, path], env=environment, cwd=ROOT, check=True)
        results.append(np.load(path))
    assert (results[0] != results[1]).any()
    np.testing.assert_allclose(results[0], results[1], atol=1e-5 * np.abs(results[1]).max())


def test_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fast_conv2d.SWITCH, "0")
    assert conv2d(8, 8, 3).kernel is None and Dense(8, 8).kernel is None and PointwiseConvolution().kernel is None


def test_without_compiler_mindspore_computes_and_one_warning_says_why(monkeypatch, caplog) -> None:
    def missing(_target: str):
        raise UserError("no compiler")

    monkeypatch.setattr(libraries, "library", missing)
    libraries.optional_library.cache_clear()
    layer = conv2d(8, 8, 3)
    assert layer.kernel is None
    assert layer(random(1, 8, 4, 4)).shape == (1, 8, 4, 4)
    conv2d(8, 8, 3)
    libraries.optional_library.cache_clear()
    assert [record.message for record in caplog.records] == [
        "CPU convolution: not compiled, a slower implementation stands in: no compiler"
    ]


@needs_kernels
def test_standard_operators_after_a_first_run() -> None:
    ms.set_context(mode=ms.GRAPH_MODE)
    net = nn.SequentialCell(conv2d(300, 16, 3), nn.ReLU())
    x = random(1, 300, 20, 20)
    before = net(x).asnumpy()
    use_standard_operators(net)
    np.testing.assert_allclose(net(x).asnumpy(), before, atol=1e-4)
    assert [name for name, _ in net.parameters_and_names()] == ["0.weight"]


@needs_compiler
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    assert_sanitizers_find_nothing("convolution", tmp_path)
