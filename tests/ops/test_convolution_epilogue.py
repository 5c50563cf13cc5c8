"""What follows a convolution in the same pass: bias, normalization, shortcut, ReLU; batches that are partly there."""

from itertools import product

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.blocks.layers import ConvNormAct, Norm, build_norm, conv2d, use_standard_operators
from src.ops.convolution import operators
from tests.ops.test_convolution import MODES, random, restore_mode  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(operators._kernels() is None, reason="no compiler, or no AVX2, or switched off")

# in, out, kernel, stride, height, width, batch: by products with patches, across images, by Winograd's filtering
SHAPES = (
    (5, 9, 3, 1, 7, 9, 2),
    (8, 16, 1, 2, 11, 6, 2),
    (3, 20, 3, 2, 5, 5, 3),
    (24, 40, 3, 1, 25, 31, 1),
    (32, 17, 1, 1, 3, 3, 5),
)


class Block(nn.Cell):
    """ConvNormAct with a shortcut or without."""

    def __init__(self, shape: tuple[int, ...], bias: bool, norm: Norm | None, relu: bool, shortcut: bool) -> None:
        super().__init__()
        conv = conv2d(*shape[:4], has_bias=bias)
        self.step = ConvNormAct(conv, None if norm is None else build_norm(norm, shape[1]), nn.ReLU() if relu else None)
        self.has_shortcut = shortcut
        for i, parameter in enumerate(self.get_parameters()):
            values = random(*parameter.shape, seed=i)
            parameter.set_data(values.abs() + 0.5 if "variance" in parameter.name else values)

    def construct(self, x, shortcut):
        return self.step.with_shortcut(x, shortcut) if self.has_shortcut else self.step(x)


class GradientsOf(nn.Cell):
    """Gradients of the product with `dout`: of the cell's inputs and of its parameters."""

    def __init__(self, cell: nn.Cell) -> None:
        super().__init__()
        self.cell = cell
        self.parameters = ms.ParameterTuple(cell.trainable_params())
        self.grad = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)

    def construct(self, dout, *inputs):
        return self.grad(self.cell, self.parameters)(*inputs, dout)


def assert_close(ours: ms.Tensor, theirs: ms.Tensor) -> None:
    ours, theirs = ours.asnumpy(), theirs.asnumpy()
    assert np.abs(ours - theirs).max() <= 2e-5 * np.abs(theirs).max() + 1e-6


def compare(make, x: ms.Tensor, shortcut: ms.Tensor, dout: ms.Tensor, training: bool) -> None:
    block, standard = make().set_train(training), make().set_train(training)
    use_standard_operators(standard)
    assert_close(block(x, shortcut), standard(x, shortcut))
    both = (GradientsOf(cell)(dout, x, shortcut) for cell in (block, standard))
    for gradients in zip(*both, strict=True):
        for pair in zip(*gradients, strict=True):
            assert_close(*pair)


@MODES
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_each_form_equals_layer_after_layer(mode: int, shape: tuple[int, ...]) -> None:
    ms.set_context(mode=mode)
    ins, outs, _, stride, height, width, batch = shape
    like_out = (batch, outs, -(-height // stride), -(-width // stride))
    arrays = random(batch, ins, height, width, seed=11), random(*like_out, seed=12), random(*like_out, seed=13)
    for bias, norm, relu, shortcut in product((False, True), (None, Norm()), (False, True), (False, True)):
        if bias or norm:
            compare(lambda: Block(shape, bias, norm, relu, shortcut), *arrays, training=False)  # noqa: B023


@pytest.mark.parametrize("norm", [None, Norm(frozen=True), Norm(stored_statistics=True), Norm()], ids=str)
def test_training_equals_layer_after_layer(norm: Norm | None) -> None:
    shape = (8, 12, 3, 1, 9, 10, 2)
    arrays = random(2, 8, 9, 10, seed=1), random(2, 12, 9, 10, seed=2), random(2, 12, 9, 10, seed=3)
    compare(lambda: Block(shape, True, norm, True, True), *arrays, training=True)


def test_a_value_that_is_no_number_stays_visible() -> None:
    block = Block((8, 8, 3, 1, 6, 6, 1), True, Norm(), True, False).set_train(False)
    x = np.zeros((1, 8, 6, 6), np.float32)
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(block(ms.Tensor(x), ms.Tensor(x)).asnumpy()).any()


@MODES
@pytest.mark.parametrize("present", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(6, 9, 3, 1), (16, 16, 3, 1), (5, 12, 1, 2)], ids=str)
def test_images_that_are_not_there_give_nothing_and_take_nothing(mode, shape, relu: bool, present: int) -> None:
    """Neither what they hold nor what reaches their results counts, be it no number."""
    ms.set_context(mode=mode)
    ins, outs, _, stride = shape
    step = ConvNormAct(conv2d(*shape, has_bias=True), None, nn.ReLU() if relu else None)
    step.conv.bias.set_data(random(outs))
    side = 16 // stride
    x, dout = random(4, ins, 16, 16).asnumpy(), random(4, outs, side, side, seed=1).asnumpy()
    kept = min(present, 4)

    class OfPresent(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.step = step

        def construct(self, x, present):
            return self.step.of_present(x, present)

    def gradients(cell: nn.Cell, dout: np.ndarray, *given: ms.Tensor) -> list[np.ndarray]:
        inputs, parameters = GradientsOf(cell)(ms.Tensor(dout), *given)
        return [tensor.asnumpy() for tensor in (cell(*given), inputs[0], *parameters)]

    x[kept:], dout[kept:] = np.nan, np.nan
    out, dx, dweight, dbias = gradients(OfPresent(), dout, ms.Tensor(x), ms.Tensor([present], ms.int32))
    assert not out[kept:].any() and not dx[kept:].any()
    if kept == 0:
        assert not dweight.any() and not dbias.any()
        return
    expected = gradients(step, dout[:kept], ms.Tensor(x[:kept]))
    for ours, theirs in zip((out[:kept], dx[:kept], dweight, dbias), expected, strict=True):
        assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
