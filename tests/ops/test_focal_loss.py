"""The focal loss and its gradient by the kernel and by MindSpore's operators against float64."""

from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.blocks.layers import use_standard_operators
from src.blocks.losses import SigmoidFocalLoss
from src.ops.cpu_kernels import cpu_library
from src.ops.focal_loss.focal_loss import TARGET
from tests.ops.sanitized import assert_sanitizers_find_nothing, needs_compiler

needs_kernels = pytest.mark.skipif(cpu_library(TARGET) is None, reason="no compiler")


def exact(logits: np.ndarray, labels: np.ndarray, gamma: float, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Loss [M,S] and derivative [M,C,S] in float64."""
    x = logits.astype(np.float64)
    sign = np.where(labels[:, None] == np.arange(logits.shape[1])[None, :, None], -1.0, 1.0)
    weight = np.where(sign < 0, alpha, 1 - alpha)
    p, softplus = 1 / (1 + np.exp(-sign * x)), np.logaddexp(0, sign * x)
    slope = sign * weight * p**gamma * (gamma * (1 - p) * softplus + p)
    return (weight * p**gamma * softplus).sum(1), slope


@needs_kernels
@pytest.mark.parametrize("standard", [False, True], ids=["kernel", "operators"])
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, 0.5), (0.0, 0.3)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 7, 600), (3, 80, 513)], ids=str)
def test_loss_and_gradient(shape: tuple[int, ...], gamma: float, alpha: float, standard: bool, mode: int) -> None:
    rng = np.random.default_rng(5)
    logits = (rng.standard_normal(shape) * 5).astype(np.float32)
    logits.ravel()[:: max(1, logits.size // 7)] = 200.0
    logits.ravel()[1 :: max(1, logits.size // 5)] = -200.0
    labels = rng.integers(-1, shape[1] + 1, (shape[0], shape[2])).astype(np.int32)
    loss = SigmoidFocalLoss(gamma, alpha)
    if standard:
        use_standard_operators(loss)
    classes = Tensor(labels)

    def total(x: Tensor) -> Tensor:
        return loss(x, classes).sum()

    gradient = ms.grad(total)(Tensor(logits)).asnumpy()
    wanted, slope = exact(logits, labels, gamma, alpha)
    np.testing.assert_allclose(loss(Tensor(logits), classes).asnumpy(), wanted, rtol=3e-6, atol=1e-6)
    np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-6)


@needs_kernels
def test_what_is_not_a_number_stays_so(pynative: None) -> None:
    logits = np.zeros((1, 3, 40), np.float32)
    logits[0, 1, 17] = np.nan
    loss = SigmoidFocalLoss()(Tensor(logits), Tensor(np.full((1, 40), -1, np.int32))).asnumpy()
    assert np.flatnonzero(np.isnan(loss)).tolist() == [17]


@needs_compiler
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    assert_sanitizers_find_nothing("focal_loss", tmp_path)
