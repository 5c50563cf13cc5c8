"""Learning rates, against values worked out by hand."""

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from src.common.errors import UserError
from src.config import load_config
from src.engine.lr_schedule import FivePhaseSchedule, LearningRateSchedule, build_schedule
from tests.conftest import ROOT


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


@pytest.mark.parametrize(
    ("path", "base", "warmup_steps", "milestones", "epochs", "images"),
    [
        ("nas_fpn/retinanet_r50_nasfpn_640_50e", 0.08, 1000, (30, 40), 50, 64),
        ("spinenet_retinanet/retinanet_spinenet_49_640_350e", 0.07, 8000, (320, 340), 350, 64),
    ],
)
def test_the_recipes_rates_equal_mmdetections(path, base, warmup_steps, milestones, epochs, images) -> None:
    """Its step policy with linear warm-up in versions 1 and 2, which the published weights are of."""
    steps_per_epoch = 117266 // images  # COCO's training images that have objects
    rate = build_schedule(load_config(ROOT / f"configs/{path}.yaml"), steps_per_epoch)
    edges = [milestone * steps_per_epoch + shift for milestone in milestones for shift in (-1, 0, 1)]
    steps = [*range(0, warmup_steps, warmup_steps // 100), warmup_steps - 1, warmup_steps, warmup_steps + 1, *edges]
    steps += range(warmup_steps, epochs * steps_per_epoch, epochs * steps_per_epoch // 110)
    assert len(steps) >= 200
    for step in steps:
        expected = base * 0.1 ** sum(step // steps_per_epoch >= milestone for milestone in milestones)
        if step < warmup_steps:
            expected *= 1 - (1 - step / warmup_steps) * (1 - 0.1)
        assert rate(step) == pytest.approx(expected, rel=1e-12)
        if step < warmup_steps:  # version 3 is at the full rate one step earlier
            version_3 = base * (0.1 + 0.9 * step / (warmup_steps - 1))
            assert rate(step) == pytest.approx(version_3, rel=1.0 / warmup_steps)


# The published log: 916 steps an epoch, "epoch: 2 step: 916 ... lr:[0.000003]", and so on.
PUBLISHED_RATES = {2: "0.000003", 3: "0.000028", 4: "0.000046", 5: "0.000064", 6: "0.000082"}
NAS_FPN = ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640.yaml"


def test_five_phases_print_the_published_learning_rates() -> None:
    rate = build_schedule(load_config(NAS_FPN), 916)
    assert {epoch: f"{rate(epoch * 916 - 1):.6f}" for epoch in PUBLISHED_RATES} == PUBLISHED_RATES


def test_five_phases_rise_tenfold_each_and_end_with_a_cosine() -> None:
    rate = FivePhaseSchedule(0.1, 1e-6, 0.005, steps_per_epoch=10, epochs=300, warmup_epochs=(2, 5, 23, 60, 160))
    assert rate(0) == 1e-6
    starts = [20, 70, 300, 900, 2500]
    assert [rate(step) for step in starts] == pytest.approx([1e-5, 1e-4, 1e-3, 1e-2, 0.1])
    assert rate(600) == pytest.approx(0.0055)  # in the middle of the fourth
    assert rate(2750) == pytest.approx(0.1 * (1 + 0.005) / 2)
    assert rate(2999) == pytest.approx(0.0005, rel=1e-2)
    assert rate(2999) > rate(3000) == pytest.approx(0.0005)


@pytest.mark.parametrize("lr_type", ["multistep", "cosine", "five_phase"])
def test_the_rate_may_follow_the_images_of_a_step(lr_type: str) -> None:
    """256 images per step at lr 0.2; here 3 x 8 x 2 = 48."""
    images = {"base_batch_size": 256, "batch_size": 8, "accumulate_step": 3}
    common = {"lr": 0.2, "lr_type": lr_type, "min_lr": 0, "lr_init": 0}
    given = load_config(NAS_FPN, common | images)
    scaled = load_config(NAS_FPN, common | images | {"auto_scale_lr": 1})
    rate, unscaled = build_schedule(scaled, 10, world=2), build_schedule(given, 10, world=2)
    assert [rate(step) for step in range(600, 2000, 100)] == pytest.approx(
        [unscaled(step) * 48 / 256 for step in range(600, 2000, 100)]
    )
    with pytest.raises(UserError, match="auto_scale_lr.*needs base_batch_size"):
        load_config(NAS_FPN, {"auto_scale_lr": 1, "base_batch_size": 0})


def test_ramps_of_no_epochs_are_left_out() -> None:
    rate = FivePhaseSchedule(0.1, 1e-6, 0.01, steps_per_epoch=10, epochs=2, warmup_epochs=(0, 0, 0, 0, 1))
    assert [rate(0), rate(10), rate(20)] == pytest.approx([0.01, 0.1, 0.001])


def test_the_curve_of_a_configuration_is_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "lr.png"
    command = [sys.executable, "tools/plot_lr.py", "--config_path", str(NAS_FPN), "--output", str(picture)]
    done = subprocess.run([*command, "--steps_per_epoch", "916"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert min(cv2.imread(str(picture)).shape[:2]) > 200
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--steps_per_epoch is missing" in done.stderr
