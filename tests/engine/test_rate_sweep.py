"""A sweep over learning rates, on losses that are known."""

import math

import numpy as np
import pytest

from src.commands.find_rate import summary
from src.config import load_config
from src.engine.rate_sweep import RateSweep, loss_of_updates, rising_rates
from src.visual.rate_curve import draw_losses_by_rate
from tests.conftest import ROOT

RATES = rising_rates(1e-5, 1.0, 100)


def swept(loss_at, rates=RATES) -> RateSweep:
    sweep = RateSweep(rates)
    sweep.run(loss_at)
    return sweep


def valley(rate: float) -> float:
    """Falls until 0.01, explodes after it."""
    return 2.0 - 0.3 * math.log10(rate / 1e-5) if rate < 0.01 else (rate / 0.01) ** 2


def test_rates_rise_by_one_factor():
    assert RATES[0] == 1e-5 and RATES[-1] == pytest.approx(1.0) and len(RATES) == 100
    np.testing.assert_allclose(np.diff(np.log(RATES)), math.log(1e5) / 99)


def test_a_tenth_of_the_rate_of_the_lowest_loss_is_suggested():
    sweep = swept(valley)
    assert 0.005 < sweep.rates[sweep.lowest] < 0.03
    assert sweep.suggested == pytest.approx(sweep.rates[sweep.lowest] / 10)
    assert len(sweep.losses) < 80 and sweep.smoothed[-1] > 4 * min(sweep.smoothed), "the sweep ends where it explodes"
    config = load_config(ROOT / "configs/demo/nas_fpn.yaml")
    assert f"suggested: --lr {sweep.suggested:.2g} --base_batch_size {config.batch_size}" in summary(config, sweep)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_sweep_ends_where_the_loss_is_not_finite(bad):
    sweep = swept(lambda rate: 1 / rate if rate < 1e-3 else bad)
    assert sweep.rates[-1] < 1e-3 and len(sweep.losses) == len(sweep.rates)


@pytest.mark.parametrize(
    ("loss_at", "message"),
    [
        (lambda rate: math.nan, "the loss is not finite at the first rate, 1e-05"),
        (lambda rate: 1 + rate, "the loss does not fall"),
        (lambda rate: 1 - rate / 2, "the loss still falls at the last rate"),
    ],
)
def test_where_nothing_can_be_suggested_the_summary_says_why(loss_at, message):
    sweep = swept(loss_at)
    assert sweep.suggested is None
    assert message in summary(load_config(ROOT / "configs/demo/nas_fpn.yaml"), sweep)


class Terms:
    def __init__(self, values):
        self.values = np.array(values)

    def asnumpy(self):
        return self.values


def test_updates_go_through_the_epochs_in_groups():
    class Loader:
        def epoch(self, index):
            return iter([(index, 0), (index, 1), (index, 2)])

    class Update:
        accumulate = 2

        def __init__(self):
            self.seen = []

        def __call__(self, batches, rate, step):
            self.seen.append((batches, rate, step))
            return Terms([1.0, rate])

    update = Update()
    loss_at = loss_of_updates(update, Loader())
    assert [loss_at(rate) for rate in (0.5, 0.25)] == [1.5, 1.25]
    assert update.seen == [([(0, 0), (0, 1)], 0.5, 0), ([(0, 2), (1, 0)], 0.25, 1)]


def test_pictures_are_drawn_of_any_sweep(tmp_path):
    for name, sweep in (("valley", swept(valley)), ("none", swept(lambda rate: math.nan))):
        marks = {} if sweep.suggested is None else {"suggested": sweep.suggested}
        draw_losses_by_rate(tmp_path / f"{name}.png", name, sweep.rates, sweep.losses, sweep.smoothed, marks)
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
