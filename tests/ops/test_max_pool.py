"""Max pooling: kernel and MindSpore's operators against NumPy, values and gradients."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.ops.kernel_library import optional_library
from src.ops.max_pool import DownsampleMax, MaxPool2d
from src.ops.max_pool.max_pool import TARGET
from tests.ops.sanitized import assert_sanitizers_find_nothing, needs_compiler

FLOOR = -0.2785
# kernel, stride, margin, floor, ceil, height and width
FORMS = [
    (3, 2, 1, 0.0, False, 8, 12),
    (3, 2, 1, FLOOR, False, 2, 36),
    (5, 4, 2, 0.0, False, 8, 12),
    (5, 4, 2, FLOOR, False, 4, 4),
    (2, 2, 0, 0.0, False, 6, 34),
    (2, 2, 0, 0.0, False, 7, 5),
    (2, 2, 0, 0.0, True, 7, 5),
    (2, 2, 0, 0.0, True, 1, 1),
    (4, 4, 0, 0.0, False, 8, 4),
]


def windows(form: tuple) -> list[tuple[int, int, slice, slice]]:
    """(row, column, rows, columns) of each window."""
    kernel, stride, margin, _, ceil, height, width = form
    sizes = [-(-side // stride) if ceil else (side + margin - kernel) // stride + 1 for side in (height, width)]
    starts = [[i * stride - margin for i in range(size)] for size in sizes]
    return [
        (i, j, slice(max(y, 0), y + kernel), slice(max(x, 0), x + kernel))
        for i, y in enumerate(starts[0])
        for j, x in enumerate(starts[1])
    ]


def random_input(form: tuple) -> np.ndarray:
    """Values that repeat, and many that are the floor, as after an activation."""
    values = np.random.default_rng(0).normal(size=(2, 3, *form[-2:]))
    return np.maximum(values.round(1), form[3]).astype(np.float32)


def expected(form: tuple, x: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Maxima; gradient of the sum of weight times maxima, which goes to the first of equal values."""
    all_windows = windows(form)
    out = np.empty((*x.shape[:2], all_windows[-1][0] + 1, all_windows[-1][1] + 1), np.float32)
    gradient = np.zeros_like(x)
    for i, j, rows, columns in all_windows:
        window = x[:, :, rows, columns]
        out[:, :, i, j] = window.max(axis=(2, 3))
        if weight is None:
            continue
        best = window.reshape(*window.shape[:2], -1).argmax(-1)
        for n, c in np.ndindex(best.shape):
            y, z = np.unravel_index(best[n, c], window.shape[2:])
            gradient[n, c, rows.start + y, columns.start + z] += weight[n, c, i, j]
    return out, gradient


@pytest.mark.parametrize("standard", [False, True], ids=["kernel", "standard"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_pooling_equals_numpy(form: tuple, standard: bool) -> None:
    pool = MaxPool2d(*form[:5])
    if standard:
        pool.use_standard_operators()
    elif optional_library(TARGET) is None:
        pytest.skip("no compiler here")
    x = random_input(form)
    np.testing.assert_allclose(pool(Tensor(x)).asnumpy(), expected(form, x, None)[0], atol=1e-6)


@pytest.mark.skipif(optional_library(TARGET) is None, reason="no compiler here")
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_gradients_equal_numpy(form: tuple, mode: int) -> None:
    pool = MaxPool2d(*form[:5])
    x = random_input(form)
    weight = np.random.default_rng(1).normal(size=expected(form, x, None)[0].shape).astype(np.float32)
    weights = Tensor(weight)

    def weighted_sum(values: Tensor) -> Tensor:
        return (pool(values) * weights).sum()

    gradient = ms.grad(weighted_sum)(Tensor(x)).asnumpy()
    np.testing.assert_allclose(gradient, expected(form, x, weight)[1], atol=1e-5)


def test_half_precision_stays_half_precision() -> None:
    pool = MaxPool2d(2, 2)
    x = Tensor(random_input((2, 2, 0, 0.0, False, 4, 4))).astype(ms.float16)
    assert pool(x).dtype == ms.float16


def test_maps_are_pooled_by_factors(mode: int) -> None:
    x = np.random.default_rng(0).normal(size=(1, 2, 16, 32)).astype(np.float32)
    pool = DownsampleMax()
    for factor in (1, 2, 16):
        wanted = x.reshape(1, 2, 16 // factor, factor, 32 // factor, factor).max((3, 5))
        np.testing.assert_array_equal(pool(Tensor(x), factor).asnumpy(), wanted)


def test_other_factors_are_refused(pynative: None) -> None:
    with pytest.raises(ValueError, match=r"by \(2, 4, 8, 16\), not by 3"):
        DownsampleMax()(Tensor(np.zeros((1, 1, 3, 3), np.float32)), 3)


@needs_compiler
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    assert_sanitizers_find_nothing("max_pool", tmp_path)
