"""Averages of weights: against NumPy, through checkpoints, and used by whoever predicts."""

from pathlib import Path

import numpy as np
import pytest
from mindspore import nn

from src.engine.averaged_weights import AveragedWeights
from src.engine.train_step import Updater
from src.ops.batch_norm import BatchNorm2d
from src.weights.checkpoint import (
    TrainingState,
    load_checkpoint_weights,
    load_training_state,
    save_training_state,
)
from tests.engine.toy_detector import ToyDetector, split, toy_batch

DECAY = 0.3  # the ramp passes it at the third update: (1 + 2) / (10 + 2) is less


class NormalizedDetector(ToyDetector):
    """With running statistics, and with a weight that is frozen."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.norm = BatchNorm2d(3)
        self.norm.gamma.requires_grad = False

    def losses(self, images, *batch, **options):
        return super().losses(self.norm(images), *batch, **options)


def averaging(net: nn.Cell, accumulate: int = 1, averages: AveragedWeights | None = None):
    averages = averages or AveragedWeights(net, DECAY)
    optimizer = nn.Adam(net.trainable_params(), learning_rate=0.1)
    return Updater(net, optimizer, accumulate=accumulate, averages=averages), optimizer, averages


@pytest.mark.parametrize("accumulate", [1, 2])
def test_they_equal_the_recurrence(accumulate: int) -> None:
    net = NormalizedDetector()
    net.set_train(True)
    update, _, averages = averaging(net, accumulate)
    assert "norm.moving_mean" in averages.named()
    assert "norm.gamma" not in averages.named()
    expected = {name: net.parameters_dict()[name].asnumpy().astype(np.float64) for name in averages.named()}
    for step in range(6):
        update(split(toy_batch(4, step), accumulate), 0.1, step)
        kept = min(DECAY, (1 + step) / (10 + step))
        for name, value in expected.items():
            expected[name] = kept * value + (1 - kept) * net.parameters_dict()[name].asnumpy()
    for name, average in averages.named().items():
        np.testing.assert_allclose(average.asnumpy(), expected[name], rtol=1e-6, atol=1e-6, err_msg=name)
        assert not np.array_equal(average.asnumpy(), net.parameters_dict()[name].asnumpy()), name


def test_weights_are_trained_as_without_averages() -> None:
    with_averages, without = ToyDetector(), ToyDetector()
    first, _, _ = averaging(with_averages)
    second = Updater(without, nn.Adam(without.trainable_params(), learning_rate=0.1))
    for step in range(3):
        losses = [update([toy_batch(4, step)], 0.1, step).asnumpy() for update in (first, second)]
        np.testing.assert_array_equal(*losses)
    np.testing.assert_array_equal(with_averages.weight.asnumpy(), without.weight.asnumpy())


def test_the_network_has_them_for_a_while() -> None:
    net = ToyDetector()
    update, _, averages = averaging(net)
    for step in range(3):
        update([toy_batch(4, step)], 0.1, step)
    own, average = net.weight.asnumpy().copy(), averages.named()["head.weight"].asnumpy().copy()
    with pytest.raises(RuntimeError), averages.in_place():
        np.testing.assert_array_equal(net.weight.asnumpy(), average)
        raise RuntimeError
    np.testing.assert_array_equal(net.weight.asnumpy(), own)
    update([toy_batch(4, 3)], 0.1, 3)  # the compiled step still has the network's own parameters
    assert not np.array_equal(net.weight.asnumpy(), own)


def test_a_resumed_training_has_them(tmp_path: Path) -> None:
    net = ToyDetector()
    update, optimizer, averages = averaging(net)
    for step in range(3):
        update([toy_batch(4, step)], 0.1, step)
    path = tmp_path / "a.ckpt"
    save_training_state(path, net, optimizer, TrainingState(step=3), averages.named())
    np.testing.assert_array_equal(
        load_checkpoint_weights(path)["head.weight"], averages.named()["head.weight"].asnumpy()
    )
    np.testing.assert_array_equal(load_checkpoint_weights(path, averaged=False)["head.weight"], net.weight.asnumpy())
    assert set(load_checkpoint_weights(path)) == set(net.parameters_dict())

    fresh = ToyDetector(seed=1)
    resumed, fresh_optimizer, fresh_averages = averaging(fresh)
    load_training_state(path, fresh, fresh_optimizer, fresh_averages.named())
    for step in range(3, 5):
        update([toy_batch(4, step)], 0.1, step)
        resumed([toy_batch(4, step)], 0.1, step)
    for name, average in averages.named().items():
        np.testing.assert_array_equal(fresh_averages.named()[name].asnumpy(), average.asnumpy())


def test_they_may_begin_in_a_resumed_training(tmp_path: Path) -> None:
    net = ToyDetector()
    optimizer = nn.Adam(net.trainable_params(), learning_rate=0.1)
    save_training_state(tmp_path / "a.ckpt", net, optimizer, TrainingState())
    fresh = ToyDetector(seed=1)
    _, fresh_optimizer, averages = averaging(fresh)
    load_training_state(tmp_path / "a.ckpt", fresh, fresh_optimizer, averages.named())
    np.testing.assert_array_equal(averages.named()["head.weight"].asnumpy(), net.weight.asnumpy())
