"""Dynamic loss scaling: updates that overflow change nothing, the scale follows, and both survive a resume."""

import numpy as np
import pytest
from mindspore import nn

from src.engine.averaged_weights import AveragedWeights
from src.engine.loss_scale import DynamicLossScale, ScaleRules
from src.engine.train_step import Updater
from src.weights.checkpoint import TrainingState
from tests.engine.test_averaged_weights import NormalizedDetector
from tests.engine.toy_detector import split, toy_batch

RULES = ScaleRules(start=1024.0, window=3, least=256.0, greatest=2048.0)


class Run:
    """A toy training with everything that an update changes."""

    def __init__(self, accumulate: int = 1, rules: ScaleRules = RULES) -> None:
        self.net = NormalizedDetector()
        self.net.set_train(True)
        self.averages = AveragedWeights(self.net, 0.5)
        self.optimizer = nn.Adam(self.net.trainable_params(), learning_rate=0.1)
        self.scaling = DynamicLossScale(rules)
        self.accumulate = accumulate
        self.update = Updater(self.net, self.optimizer, self.scaling, 10.0, accumulate, averages=self.averages)
        self.step = 0

    def __call__(self, seed: int, broken: bool = False) -> TrainingState:
        """One update; the last image of a `broken` one is infinite."""
        batch = toy_batch(4, seed)
        if broken:
            batch["image"][-1] = np.inf
        self.update(split(batch, self.accumulate), 0.1, self.step)
        self.step += 1
        state = TrainingState()
        self.scaling.note_in(state)
        return state

    def values(self) -> dict[str, np.ndarray]:
        kept = {f"average {name}": average for name, average in self.averages.named().items()}
        everything = self.net.parameters_dict() | self.optimizer.parameters_dict() | kept
        return {name: p.asnumpy().copy() for name, p in everything.items() if p is not self.optimizer.learning_rate}


def brief(state: TrainingState) -> tuple[float, int, int, int]:
    return state.loss_scale, state.good_steps, state.skipped_in_a_row, state.skipped_steps


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_overflow_changes_nothing_but_the_scale(accumulate: int) -> None:
    run = Run(accumulate)
    assert brief(run(0)) == (1024, 1, 0, 0)
    before = run.values()
    assert {"norm.moving_mean", "moment1.head.weight", "beta1_power", "average norm.moving_mean"} <= set(before)
    assert brief(run(1, broken=True)) == (512, 0, 1, 1)
    assert brief(run(2, broken=True)) == (256, 0, 2, 2)
    assert brief(run(3, broken=True)) == (256, 0, 3, 3)  # the least
    for name, value in run.values().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    states = [brief(run(seed)) for seed in range(4, 14)]
    assert [scale for scale, *_ in states] == [256, 256, 512, 512, 512, 1024, 1024, 1024, 2048, 2048]
    assert states[0][1:] == (1, 0, 3) and states[2][1:] == (0, 0, 3)
    assert [brief(run(seed))[0] for seed in (14, 15, 16)] == [2048] * 3  # the greatest
    assert not np.array_equal(run.values()["norm.moving_mean"], before["norm.moving_mean"])


def test_weights_are_those_of_a_training_without_the_skipped_updates() -> None:
    run, fixed = Run(), NormalizedDetector()
    fixed.set_train(True)
    update = Updater(fixed, nn.Adam(fixed.trainable_params(), learning_rate=0.1), 64.0, 10.0)
    for seed in range(4):
        run(seed)
        run(seed, broken=True)
        update([toy_batch(4, seed)], 0.1)
    for name, parameter in fixed.parameters_dict().items():
        np.testing.assert_allclose(run.values()[name], parameter.asnumpy(), rtol=1e-5, atol=1e-7, err_msg=name)


def test_it_goes_on_from_a_saved_state() -> None:
    resumed, again = DynamicLossScale(RULES), TrainingState()
    resumed.restore(TrainingState(loss_scale=512.0, good_steps=1, skipped_in_a_row=2, skipped_steps=5))
    resumed.note_in(again)
    assert brief(again) == (512, 1, 2, 5)
    resumed.restore(TrainingState(loss_scale=1e9))
    resumed.note_in(again)
    assert again.loss_scale == RULES.greatest
