"""Sums of two maps: kernels and MindSpore's operators against float64, values and gradients."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.blocks.layers import use_standard_operators
from src.ops import cpu_kernels
from src.ops.cpu_kernels import cpu_library
from src.ops.map_sum import AttentionSum, MapSum
from src.ops.map_sum.map_sum import TARGET, repetition
from tests.ops.sanitized import assert_sanitizers_find_nothing, needs_compiler
from tests.ops.test_roi_kernels import Entries

needs_kernels = pytest.mark.skipif(cpu_library(TARGET) is None, reason="no compiler")
CELLS = pytest.mark.parametrize("cell_class", [MapSum, AttentionSum])
RELU = pytest.mark.parametrize("relu", [False, True], ids=["plain", "relu"])
# Larger map, smaller map, factor.
SHAPES = [
    ((2, 3, 1, 1), (2, 3, 1, 1), 1),
    ((2, 3, 7, 13), (2, 3, 7, 13), 1),
    ((2, 3, 8, 26), (2, 3, 4, 13), 2),
    ((1, 4, 25, 33), (1, 4, 13, 17), 2),
    ((1, 4, 1, 2), (1, 4, 1, 1), 2),
    ((2, 2, 9, 18), (2, 2, 3, 6), 3),
    ((2, 3, 12, 20), (2, 3, 3, 5), 4),
    ((1, 2, 11, 6), (1, 2, 3, 2), 4),
    ((2, 1, 16, 24), (2, 1, 2, 3), 8),
    ((2, 64, 40, 40), (2, 64, 20, 20), 2),
]
SHAPE = pytest.mark.parametrize(("larger", "smaller", "factor"), SHAPES, ids=str)


def random(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def exact(a: np.ndarray, b: np.ndarray, dout: np.ndarray, factor: int, attentive: bool, relu: bool) -> list:
    """Sum and gradients of a and b in float64."""
    a, b, d = a.astype(np.float64), b.astype(np.float64), dout.astype(np.float64)
    _, _, height, width = a.shape
    repeated = b.repeat(factor, 2).repeat(factor, 3)[:, :, :height, :width]
    attention = 1 / (1 + np.exp(-a.mean((2, 3), keepdims=True))) if attentive else np.ones((*a.shape[:2], 1, 1))
    out = a + attention * repeated
    if relu:
        d = d * (out > 0)
        out = np.maximum(out, 0)
    whole = np.zeros((*b.shape[:3], factor, b.shape[3], factor))
    whole.reshape(*b.shape[:2], b.shape[2] * factor, -1)[:, :, :height, :width] = d
    da = d
    if attentive:
        of_attention = (d * repeated).sum((2, 3), keepdims=True)
        da = d + of_attention * attention * (1 - attention) / (height * width)
    return [out, da, attention * whole.sum((3, 5))]


def results(cell: nn.Cell, a: np.ndarray, b: np.ndarray, dout: np.ndarray) -> list[np.ndarray]:
    """Sum and gradients of a and b."""
    weights = Tensor(dout)

    def weighted_sum(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        out = cell(first, second)
        return (out * weights).sum(), out

    (_, out), gradients = ms.value_and_grad(weighted_sum, (0, 1), has_aux=True)(Tensor(a), Tensor(b))
    return [tensor.asnumpy() for tensor in (out, *gradients)]


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 2e-6 * max(np.abs(theirs).max(), 1)


@pytest.mark.parametrize("standard", [False, True], ids=["kernel", "standard"])
@CELLS
@RELU
@SHAPE
def test_sums_and_gradients_equal_float64(larger, smaller, factor, relu, cell_class, standard) -> None:
    cell = cell_class(relu)
    if standard:
        use_standard_operators(cell)
        assert cell.kernel is None
    elif cell.kernel is None:
        pytest.skip("no compiler")
    a, b, dout = random(larger, 0), random(smaller, 1), random(larger, 2)
    assert_close(results(cell, a, b, dout), exact(a, b, dout, factor, cell_class is AttentionSum, relu))


@CELLS
@RELU
def test_both_modes(cell_class, relu, mode) -> None:
    a, b, dout = random((2, 3, 5, 7), 0), random((2, 3, 3, 4), 1), random((2, 3, 5, 7), 2)
    assert_close(results(cell_class(relu), a, b, dout), exact(a, b, dout, 2, cell_class is AttentionSum, relu))


def test_either_map_may_be_the_smaller_one(mode) -> None:
    a, b, dout = random((2, 3, 5, 7), 0), random((2, 3, 3, 4), 1), random((2, 3, 5, 7), 2)
    out, of_b, of_a = results(MapSum(), b, a, dout)
    assert_close([out, of_a, of_b], exact(a, b, dout, 2, False, False))


@CELLS
@pytest.mark.parametrize(
    ("larger", "smaller"),
    [
        ((1, 3, 6, 6), (1, 3, 4, 4)),
        ((1, 3, 8, 8), (1, 3, 4, 2)),
        ((1, 3, 8, 4), (1, 3, 4, 8)),
        ((1, 3, 8, 8), (1, 2, 4, 4)),
        pytest.param((2, 3, 8, 8), (1, 3, 4, 4), marks=needs_kernels),  # MindSpore's operators repeat images
    ],
    ids=str,
)
def test_other_shapes_are_refused(cell_class, larger, smaller, mode) -> None:
    with pytest.raises(ValueError, match=r"a map of shape \(.*\) cannot be repeated to one of \("):
        cell_class()(Tensor(random(larger, 0)), Tensor(random(smaller, 1)))


def test_the_factor_is_the_smallest() -> None:
    for larger, smaller, factor in SHAPES:
        assert repetition(larger, smaller) == factor
    assert repetition((1, 3, 6, 6), (1, 3, 4, 4)) == 0


@needs_kernels
def test_entries_refuse_other_shapes_and_types() -> None:
    entries, a, b = Entries(Path(cpu_library(TARGET))), random((1, 2, 8, 8), 0), random((1, 2, 4, 4), 1)
    attention = random((1, 2, 1, 1), 2)
    assert entries.call("MapSum", a, b, a.copy()) == 0
    assert entries.call("AttentionSum", a, b, a.copy(), attention) == 0
    for wrong in (b[:, :1], b[:, :, :3], b[0], b[:, :, :0], b.astype(np.float16)):
        wrong = np.ascontiguousarray(wrong)
        assert entries.call("MapSum", a, wrong, a.copy()) == 1
        assert entries.call("MapSumGradient", a, wrong, wrong.copy()) == 1
        assert entries.call("MapSumReluGradient", a, a, wrong, a.copy(), wrong.copy()) == 1
        assert entries.call("ReluGradient", a, wrong, a.copy()) == 1
        assert entries.call("AttentionSum", a, wrong, a.copy(), attention) == 1
        assert entries.call("AttentionSumGradient", a, wrong, attention, a.copy(), wrong.copy()) == 1
        assert entries.call("AttentionSumReluGradient", a, a, wrong, attention, a.copy(), wrong.copy()) == 1
    assert entries.call("AttentionSum", a, b, a.copy(), attention[:, :1].copy()) == 1


@needs_kernels
@CELLS
def test_what_is_no_number_stays_none(cell_class) -> None:
    a = np.zeros((1, 1, 4, 4), np.float32)
    b = np.full((1, 1, 2, 2), np.nan, np.float32)
    assert np.isnan(cell_class(relu=True)(Tensor(a), Tensor(b)).asnumpy()).all()


@CELLS
def test_half_precision_is_left_to_mindspore(cell_class) -> None:
    a, b = random((1, 2, 4, 4), 0).astype(np.float16), random((1, 2, 2, 2), 1).astype(np.float16)
    out = cell_class(relu=True)(Tensor(a), Tensor(b))
    assert out.dtype == ms.float16
    wanted = exact(a, b, a, 2, cell_class is AttentionSum, True)[0]
    np.testing.assert_allclose(out.asnumpy(), wanted, atol=5e-3)


@CELLS
def test_other_devices_have_mindspores_operators(cell_class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "current_target", lambda: "GPU")
    assert cell_class().kernel is None


@needs_compiler
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    assert_sanitizers_find_nothing("map_sum", tmp_path)
