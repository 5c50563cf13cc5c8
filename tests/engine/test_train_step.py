"""Updates: against NumPy, and accumulated against joint batches."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.engine.train_step import Updater
from tests.engine.toy_detector import ToyDetector, split, toy_batch


def run(batches_of_updates: list[list[dict]], accumulate: int, grad_clip: float = 0.0, optimizer=None, scale=256.0):
    net = ToyDetector()
    make = optimizer or (lambda params: nn.Momentum(params, learning_rate=0.1, momentum=0.9))
    update = Updater(net, make(net.trainable_params()), scale, grad_clip, accumulate)
    terms = [update(batches, 0.05 / (i + 1)).asnumpy() for i, batches in enumerate(batches_of_updates)]
    return net.weight.asnumpy(), np.array(terms)


def numpy_update(grad_clip: float, steps: int) -> np.ndarray:
    """SGD with momentum as PyTorch defines it, gradients by hand."""
    net = ToyDetector()
    weight, bias = net.weight.asnumpy().astype(np.float64), net.bias.asnumpy().astype(np.float64)
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    for i in range(steps):
        batch = toy_batch(4, i)
        x = batch["image"].mean((2, 3)).astype(np.float64)
        target = (batch["boxes"] * batch["valid"][..., None]).sum(1)
        error = x @ weight + bias - target
        upstream = (2 * error + np.sign(error)) / max(batch["valid"].sum(), 1)
        gradients = [x.T @ upstream, upstream.sum(0)]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        factor = min(1.0, grad_clip / norm) if grad_clip else 1.0
        velocity = [0.9 * v + factor * g for v, g in zip(velocity, gradients, strict=True)]
        weight -= 0.05 / (i + 1) * velocity[0]
        bias -= 0.05 / (i + 1) * velocity[1]
    return weight


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE])
@pytest.mark.parametrize("grad_clip", [0.0, 0.7])
def test_updates_equal_numpy(mode: int, grad_clip: float) -> None:
    ms.set_context(mode=mode)
    weight, _ = run([[toy_batch(4, i)] for i in range(3)], 1, grad_clip)
    ms.set_context(mode=ms.GRAPH_MODE)
    np.testing.assert_allclose(weight, numpy_update(grad_clip, 3), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("grad_clip", [0.0, 0.7])
def test_accumulated_batches_count_like_their_joint_batch(grad_clip: float) -> None:
    joint = [[toy_batch(6, i)] for i in range(3)]
    parts = [split(batches[0], 3) for batches in joint]
    counts = [int(batch["valid"].sum()) for batch in parts[0]]
    assert len(set(counts)) > 1  # otherwise the test could not tell means from a joint normalizer
    expected, expected_terms = run(joint, 1, grad_clip)
    weight, terms = run(parts, 3, grad_clip)
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(terms, expected_terms, rtol=1e-5)


def test_loss_scale_leaves_no_trace() -> None:
    updates = [[toy_batch(4, i)] for i in range(2)]
    np.testing.assert_allclose(run(updates, 1, scale=1.0)[0], run(updates, 1, scale=4096.0)[0], rtol=1e-5)


def test_a_batch_without_objects_is_no_division_by_zero() -> None:
    batch = toy_batch(4, 0)
    batch["valid"][:] = False
    assert np.isfinite(run([[batch]], 1)[1]).all()
    assert np.isfinite(run([split(batch, 2)], 2)[1]).all()
