"""InstaBoost moves instances as often and as far as instaboostfast 0.1.2 does (tests/oracles/instaboost_stats.json)."""

import json
from pathlib import Path

import numpy as np
import pytest

from src.data.instaboost import InstaBoost
from src.data.instaboost.groups import find_groups, find_movable
from src.data.instaboost.heatmap import AppearanceMap
from src.data.instaboost.jitter import Contact, draw_action, draw_jitter
from src.data.instaboost.settings import Settings
from tests.data.instaboost_samples import rectangle, sample_of, scene

EXPECTED = json.loads((Path(__file__).parents[1] / "oracles" / "instaboost_stats.json").read_text())
DRAWS = 6000


def jitters(box, image_hw) -> dict[str, np.ndarray]:
    """Values of many draws with the seed's settings."""
    rng, contact = np.random.default_rng(0), Contact.of(box, image_hw)
    drawn = [draw_jitter(Settings(), "normal", box, contact, rng) for _ in range(DRAWS)]
    return {name: np.array([getattr(jitter, name) for jitter in drawn]) for name in ("dx", "dy", "scale", "theta")}


def assert_same_frequencies(values: np.ndarray, expected: dict[str, int]) -> None:
    """The same values, each as often within 4 standard deviations of both samples."""
    counts = {float(value): count for value, count in zip(*np.unique(values, return_counts=True), strict=True)}
    assert sorted(counts) == sorted(float(value) for value in expected)
    total = sum(expected.values())
    for value, count in expected.items():
        share = count / total
        deviation = np.sqrt(share * (1 - share) * (1 / total + 1 / len(values)))
        assert abs(counts[float(value)] / len(values) - share) <= 4 * deviation, value


def test_a_free_instance():
    expected, drawn = EXPECTED["free_instance_150x90"], jitters((200, 150, 350, 240), (480, 640))
    assert_same_frequencies(drawn["dx"], expected["tx_values"])
    assert_same_frequencies(drawn["dy"], expected["ty_values"])
    assert_same_frequencies(drawn["theta"], expected["theta_deg_values"])
    assert drawn["scale"].mean() == pytest.approx(expected["scale"]["mean"], abs=0.006)
    assert drawn["scale"].std() == pytest.approx(expected["scale"]["std"], abs=0.004)
    assert (drawn["scale"].min(), drawn["scale"].max()) == pytest.approx((0.8, 1.2), abs=0.001)


def test_an_instance_at_the_left_border():
    expected, drawn = EXPECTED["left_border_instance_150x90"], jitters((3, 150, 153, 240), (480, 640))
    assert_same_frequencies(drawn["dx"], expected["tx_values"])
    assert_same_frequencies(drawn["theta"], expected["theta_deg_values"])
    assert drawn["scale"].min() == 1.0 and drawn["scale"].max() == pytest.approx(expected["scale"]["max"], abs=0.001)
    assert np.mean(drawn["scale"] == 1) == pytest.approx(expected["scale"]["fraction_exactly_1"], abs=0.03)


@pytest.mark.parametrize("size", ["640x480", "1280x960"])
def test_groups_of_a_photograph(size):
    """The groups' boxes of a photograph, one rectangle each: how many move, how far, and how many are at a border."""
    width, height = (int(side) for side in size.split("x"))
    expected = EXPECTED["cases"][f"{size}_heatmap_False"]
    masks = [rectangle(*box) for box in expected["group_boxes"]]
    boxes = np.array([mask.box for mask in masks], np.float32)
    groups = find_groups(boxes, masks, find_movable(boxes, np.zeros(3, bool), masks))
    assert groups == [[0], [1], [2]] and len(groups) == expected["groups"]
    at_border = [any(Contact.of(mask.box, (height, width))) for mask in masks]
    assert np.mean(at_border) == pytest.approx(expected["fraction_touching_border"])
    drawn = [jitters(mask.box, (height, width)) for mask in masks]
    # The oracle has 24 to 90 draws: its standard deviations are good to about 15 %.
    sides = [(x2 - x1, y2 - y1) for x1, y1, x2, y2 in expected["group_boxes"]]
    for name, axis, key in (("dx", 0, "dx_over_w"), ("dy", 1, "dy_over_h")):
        relative = np.concatenate([draw[name] / side[axis] for draw, side in zip(drawn, sides, strict=True)])
        assert relative.std() == pytest.approx(expected[key]["std"], rel=0.25)
        assert np.abs(relative).max() <= 1 / 15
    scale = np.concatenate([draw["scale"] for draw in drawn])
    assert scale.mean() == pytest.approx(expected["scale"]["mean"], abs=0.06)
    assert scale.std() == pytest.approx(expected["scale"]["std"], rel=0.35)


def test_whole_images():
    """The distributions survive placing and pasting: measured on the boxes of one free instance."""
    box = (200, 150, 350, 240)
    sample, transform = scene([box], 480, 640), InstaBoost(aug_prob=1.0, color_prob=0.0, theta=(0, 0))
    results = [transform(sample, np.random.default_rng(seed)).boxes[0] for seed in range(400)]
    x1, y1, x2, y2 = np.array(results).T
    scale, expected = (x2 - x1) / 150, EXPECTED["free_instance_150x90"]["scale"]
    assert scale.mean() == pytest.approx(expected["mean"], abs=0.02)
    assert scale.std() == pytest.approx(expected["std"], abs=0.012)
    dx, dy = (x1 + x2) / 2 - 275, (y1 + y2) / 2 - 195
    assert np.abs(dx).max() <= 10.5 and dx.std() == pytest.approx(np.sqrt(21**2 / 12), rel=0.1)
    assert np.abs(dy).max() <= 6.5 and dy.std() == pytest.approx(np.sqrt(13**2 / 12), rel=0.1)


def test_actions():
    settings = Settings(("normal", "horizontal", "vertical", "skip"), (0.3, 0.3, 0.2, 0.2))
    rng = np.random.default_rng(0)
    free = [draw_action(settings, Contact(False, False, False, False), rng) for _ in range(4000)]
    for action, share in zip(settings.action_candidate, settings.action_prob, strict=True):
        assert free.count(action) / 4000 == pytest.approx(share, abs=0.03)
    bordered = [draw_action(settings, Contact(True, False, False, False), rng) for _ in range(4000)]
    assert set(bordered) == {"normal", "skip"}
    assert bordered.count("normal") / 4000 == pytest.approx(0.6, abs=0.03)


def patchwork() -> dict:
    """An object on one of two equal red patches in a blue and green image."""
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, :, 2] = np.linspace(120, 255, 400).astype(np.uint8)
    image[:, :, 1] = np.linspace(0, 120, 300).astype(np.uint8)[:, None]
    for x in (60, 260):
        image[100:200, x : x + 100] = (200, 0, 0)
    image[135:165, 95:125] = 255
    return sample_of(image, [rectangle(95, 135, 125, 165)])


def test_heatmap_finds_the_place_that_looks_alike():
    transform = InstaBoost(aug_prob=1.0, color_prob=0.0, heatmap_flag=True, scale=(1, 1), theta=(0, 0))
    boxes = np.array([transform(patchwork(), np.random.default_rng(seed)).boxes[0] for seed in range(200)])
    dx, dy = boxes[:, 0] - 95, boxes[:, 1] - 135
    here, there = np.abs(dx) <= 30, np.abs(dx - 200) <= 30
    assert np.all(here | there) and np.all(np.abs(dy) <= 30)
    assert here.sum() > 50 and there.sum() > 50


def test_heatmap_is_highest_where_the_object_is():
    sample = patchwork()
    occupied = sample.masks[0].bitmap(300, 400)
    consistency, (row, column) = AppearanceMap(sample.image, occupied).consistency(sample.masks[0])
    assert consistency.max() == pytest.approx(1) and consistency.min() >= 0
    assert consistency[row, column] > 0.9
    assert consistency[0, 0] < 0.3 and consistency[-1, -1] < 0.3


def test_heatmap_keeps_borders_in_contact():
    box = (4, 120, 60, 180)
    sample = scene([box], 300, 400)
    transform = InstaBoost(aug_prob=1.0, color_prob=0.0, heatmap_flag=True)
    boxes = np.array([transform(sample, np.random.default_rng(seed)).boxes[0] for seed in range(60)])
    assert boxes[:, 0].max() <= 4
