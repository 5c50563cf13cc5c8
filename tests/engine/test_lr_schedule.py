"""Learning rates, against values worked out by hand."""

import pytest

from src.engine.lr_schedule import LearningRateSchedule


def test_warm_up_starts_at_ratio_and_ends_at_base() -> None:
    rate = LearningRateSchedule(0.2, 0, 10, 5, warmup_steps=4, warmup_ratio=0.1, milestones=(3,))
    assert [rate(step) for step in (0, 2, 4)] == pytest.approx([0.02, 0.11, 0.2])


def test_multistep_divides_by_ten_after_the_named_epochs_and_stops_at_the_minimum() -> None:
    rate = LearningRateSchedule(0.2, 0.0015, 10, 9, kind="multistep", milestones=(3, 5, 7))
    assert [rate(step) for step in (29, 30, 49, 50, 70)] == pytest.approx([0.2, 0.02, 0.02, 0.002, 0.0015])


@pytest.mark.parametrize(("kind", "middle"), [("cosine", 0.15), ("linear", 0.15)])
def test_smooth_decays_end_at_the_minimum(kind: str, middle: float) -> None:
    rate = LearningRateSchedule(0.2, 0.1, 10, 12, warmup_steps=20, kind=kind)
    assert rate(20) == pytest.approx(0.2)
    assert rate(70) == pytest.approx(middle)
    assert rate(119) == pytest.approx(0.1, abs=2e-3)


def test_cosine_is_not_linear() -> None:
    rate = LearningRateSchedule(1.0, 0.0, 10, 10, kind="cosine")
    assert rate(25) == pytest.approx(0.853553, abs=1e-6)
