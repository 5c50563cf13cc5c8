"""InstaBoost: objects move as asked, the pixels, masks and boxes stay together, and none is ever lost."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.common.errors import UserError
from src.data.instaboost import InstaBoost, build_instaboost
from src.data.instaboost.color import jitter_color
from src.data.instaboost.groups import find_groups, find_movable
from src.data.masks import MaskPatch, decode_mask
from tests.data.coco_files import noise_image
from tests.data.instaboost_samples import random_scene, rectangle, sample_of, scene


def always(**settings) -> InstaBoost:
    return InstaBoost(**{"aug_prob": 1.0, "color_prob": 0.0, **settings})


def still(**settings) -> InstaBoost:
    """Jitters by nothing except what is asked for."""
    return always(**{"scale": (1, 1), "theta": (0, 0), "dx": 1e6, "dy": 1e6, **settings})


def same(a: dict, b: dict) -> bool:
    masks = zip(a.masks, b.masks, strict=True)
    return (
        np.array_equal(a.image, b.image)
        and np.array_equal(a.boxes, b.boxes)
        and all(x.box == y.box and np.array_equal(x.pixels, y.pixels) for x, y in masks)
    )


def test_same_generator_same_result():
    sample = scene([(20, 20, 60, 50), (90, 10, 120, 80), (30, 70, 50, 90)], 100, 140)
    first, again, other = (InstaBoost(aug_prob=1.0)(sample, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert same(first, again) and not same(first, other)


def test_never_at_aug_prob_0_and_as_often_as_asked_otherwise():
    sample = scene([(20, 20, 60, 50)], 80, 90)
    rng = np.random.default_rng(0)
    assert all(InstaBoost(aug_prob=0.0)(sample, rng) is sample for _ in range(20))
    changed = sum(InstaBoost(aug_prob=0.3)(sample, rng) is not sample for _ in range(400))
    assert 85 <= changed <= 155  # 120 and 3.8 standard deviations


@pytest.mark.parametrize("hard_edge", [True, False])
@pytest.mark.parametrize("heatmap_flag", [True, False])
def test_random_hard_cases(heatmap_flag, hard_edge):
    transform = always(
        action_candidate=("normal", "horizontal", "vertical", "skip"),
        action_prob=(0.4, 0.3, 0.2, 0.1),
        dx=2,
        dy=2,
        scale=(0.3, 2),
        theta=(-40, 40),
        heatmap_flag=heatmap_flag,
        hard_edge=hard_edge,
    )
    moved = 0
    for seed in range(300):
        sample = random_scene(seed)
        before = copy.deepcopy(sample)
        result = transform(sample, np.random.default_rng(seed))
        assert same(sample, before), seed
        check_consistent(before, result)
        moved += not np.array_equal(before.boxes, result.boxes)
    assert moved > 60


def check_consistent(before: dict, after: dict) -> None:
    """Nobody lost, nothing outside of the image, boxes tight, crowds and their pixels untouched."""
    height, width = before.image.shape[:2]
    assert after.image.shape == before.image.shape and after.image.dtype == np.uint8
    assert after.boxes.dtype == np.float32 and len(after.masks) == len(before.masks) == len(after.boxes)
    assert np.array_equal(after.labels, before.labels) and np.array_equal(after.crowd, before.crowd)
    unmoving = np.zeros((height, width), bool)
    for index, (old, new) in enumerate(zip(before.masks, after.masks, strict=True)):
        x1, y1, x2, y2 = new.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert new.pixels.dtype == np.uint8 and new.pixels.max() == 1
        assert new.pixels[0].any() and new.pixels[-1].any() and new.pixels[:, 0].any() and new.pixels[:, -1].any()
        if tuple(before.boxes[index]) == old.box:
            assert tuple(after.boxes[index]) == new.box
        if before.crowd[index]:
            assert new.box == old.box and np.array_equal(new.pixels, old.pixels)
            assert np.array_equal(before.boxes[index], after.boxes[index])
            unmoving |= old.bitmap(height, width) != 0
    assert np.array_equal(after.image[unmoving], before.image[unmoving])


@pytest.mark.parametrize("form", ["polygons", "compressed", "uncompressed"])
def test_every_form_of_segmentation(form):
    bitmap = np.zeros((80, 90), np.uint8)
    cv2.fillPoly(bitmap, [np.array([[30, 20], [60, 30], [40, 55]])], 1)
    segmentation = {
        "polygons": [[30, 20, 60, 30, 40, 55]],
        "compressed": coco_mask.encode(np.asfortranarray(bitmap)),
        "uncompressed": {"size": [80, 90], "counts": runs(bitmap)},
    }[form]
    sample = sample_of(noise_image(80, 90), [decode_mask(segmentation, 80, 90)])
    result = still(scale=(1.3, 1.3))(sample, np.random.default_rng(0))
    check_consistent(sample, result)
    assert result.masks[0].area == pytest.approx(1.69 * sample.masks[0].area, rel=0.04)


def runs(bitmap: np.ndarray) -> list[int]:
    column = bitmap.ravel(order="F")
    ends = np.flatnonzero(np.diff(column)) + 1
    return np.diff([0, *ends, len(column)]).tolist()


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.5])
def test_scale(factor):
    sample = scene([(70, 60, 110, 100)], 160, 180)
    result = still(scale=(factor, factor))(sample, np.random.default_rng(0))
    expected = [90 - 20 * factor, 80 - 20 * factor, 90 + 20 * factor, 80 + 20 * factor]
    assert result.boxes[0] == pytest.approx(expected)
    assert result.masks[0].area == pytest.approx(1600 * factor**2, rel=0.01)
    white = np.all(result.image > 250, axis=2)
    difference = white != (result.masks[0].bitmap(160, 180) != 0)
    assert np.count_nonzero(difference) <= 4 * 40 * factor  # at most one pixel along the edge


def test_rotation():
    sample = scene([(60, 40, 100, 100)], 150, 160)
    result = still(theta=(90, 90))(sample, np.random.default_rng(0))
    assert result.boxes[0] == pytest.approx([50, 50, 110, 90], abs=1)
    tilted = still(theta=(30, 30))(sample, np.random.default_rng(0)).masks[0]
    y, x = np.nonzero(tilted.pixels)
    (vx, vy), *_ = np.linalg.eigh(np.cov(x, y))[1].T[::-1]
    assert np.degrees(np.arctan2(vy, vx)) % 180 == pytest.approx(120, abs=1.5)  # clockwise, y points down
    assert tilted.area == pytest.approx(2400, rel=0.02)


@pytest.mark.parametrize("action, axis", [("horizontal", 1), ("vertical", 0)])
def test_flip(action, axis):
    sample = scene([(60, 40, 100, 100)], 150, 160)
    ramp = np.broadcast_to(
        np.arange(60, dtype=np.uint8)[:, None, None] * 2 + np.arange(40, dtype=np.uint8)[:, None], (60, 40, 3)
    )
    sample.image[40:100, 60:100] = ramp
    pixels = np.ones((60, 40), np.uint8)
    pixels[:20, :10] = 0
    sample.masks = [MaskPatch(pixels, 60, 40)]
    result = still(action_candidate=[action], action_prob=[1])(sample, np.random.default_rng(0))
    assert np.array_equal(result.boxes, sample.boxes)
    assert np.array_equal(result.masks[0].pixels, np.flip(pixels, axis))
    shown = result.image[40:100, 60:100][np.flip(pixels, axis) != 0]
    assert np.array_equal(shown, np.flip(ramp, axis)[np.flip(pixels, axis) != 0])


def test_skip_leaves_the_image():
    sample = scene([(60, 40, 100, 100)], 150, 160)
    assert always(action_prob=(0, 0, 1))(sample, np.random.default_rng(0)) is sample
    at_border = scene([(5, 40, 100, 100)], 150, 160)
    flip = always(action_candidate=["horizontal"], action_prob=[1])
    assert flip(at_border, np.random.default_rng(0)) is at_border


def test_the_old_place_shows_the_background():
    image = np.zeros((120, 160, 3), np.uint8)
    image[:] = np.linspace(60, 180, 160).astype(np.uint8)[:, None]
    background = image.copy()
    image[40:80, 60:100] = (255, 0, 0)
    result = still(scale=(0.25, 0.25))(sample_of(image, [rectangle(60, 40, 100, 80)]), np.random.default_rng(0))
    outside = result.masks[0].bitmap(120, 160) == 0
    difference = np.abs(result.image.astype(int) - background)[outside]
    assert difference.max() <= 25 and difference.mean() < 1
    assert np.all(result.image[55:65, 75:85] == (255, 0, 0))


def test_edges_hard_and_blended():
    image = np.zeros((80, 100, 3), np.uint8)
    image[30:50, 40:60] = 255
    sample = sample_of(image, [rectangle(40, 30, 60, 50)])
    move = {"dx": 4, "scale": (1, 1), "theta": (0, 0)}
    hard = always(**move)(sample, np.random.default_rng(1)).image
    soft = always(**move, hard_edge=False)(sample, np.random.default_rng(1)).image
    assert set(np.unique(hard)) == {0, 255}
    between = (soft > 0) & (soft < 255)
    assert 100 < between[..., 0].sum() < 500
    assert np.abs(soft.astype(int) - hard).sum() / 255 < between.sum()


def test_covered_pixels_leave_the_mask_below():
    boxes = [(30, 30, 90, 90), (91, 30, 111, 90)]
    transform = always(dx=2, dy=1e6, scale=(1, 1), theta=(0, 0))
    covered = 0
    for seed in range(60):
        result = transform(scene(boxes, 120, 150), np.random.default_rng(seed))
        bitmaps = [mask.bitmap(120, 150) for mask in result.masks]
        assert not np.any(bitmaps[0] & bitmaps[1])
        assert bitmaps[1].sum() == 1200 and bitmaps[0].sum() >= 900
        covered += bitmaps[0].sum() < 3600
    assert covered > 5


def test_crowds_are_not_covered():
    boxes = [(30, 30, 50, 90), (52, 30, 70, 90)]
    transform = always(dx=2, dy=1e6, scale=(1, 1), theta=(0, 0))
    shifts = set()
    for seed in range(60):
        sample = scene(boxes, 120, 150)
        sample.crowd[1] = True
        result = transform(sample, np.random.default_rng(seed))
        check_consistent(sample, result)
        shifts.add(result.boxes[0, 0] - 30)
    assert min(shifts) < -5 and max(shifts) <= 0


def test_groups():
    masks = [
        rectangle(*box) for box in [(0, 0, 10, 10), (50, 50, 60, 60), (8, 8, 30, 30), (29, 0, 40, 12), (60, 50, 70, 60)]
    ]
    boxes = np.array([mask.box for mask in masks], np.float32)
    crowd = np.zeros(5, bool)
    assert find_groups(boxes, masks, find_movable(boxes, crowd, masks)) == [[0, 2, 3], [1], [4]]
    crowd[3] = True
    assert find_groups(boxes, masks, find_movable(boxes, crowd, masks)) == [[1], [4]]
    boxes[1] = (50, 50, 64, 60)  # says more than its mask, and then overlaps the last
    assert find_groups(boxes, masks, find_movable(boxes, crowd, masks)) == []


def test_color():
    image = noise_image(60, 80)
    rng = np.random.default_rng(0)
    looks = [jitter_color(image, rng) for _ in range(50)]
    assert all(look.shape == image.shape and look.dtype == np.uint8 for look in looks)
    means = np.array([look.mean() for look in looks])
    assert means.std() > 10 and means.mean() > image.mean()  # brightness only grows
    sample = scene([(60, 40, 100, 100)], 150, 160)
    coloured = still(color_prob=1.0)(sample, np.random.default_rng(0))
    assert np.array_equal(coloured.boxes, sample.boxes)
    assert not np.array_equal(coloured.image[:30], sample.image[:30])


def config(**changed) -> SimpleNamespace:
    keys = {
        "use_instaboost_fast": True,
        "instaboost_backend": "native",
        "action_candidate": ["normal", "horizontal", "skip"],
        "action_prob": [1, 0, 0],
        "scale": [0.8, 1.2],
        "dx": 15,
        "dy": 15,
        "theta": [-1, 1],
        "color_prob": 0.5,
        "heatmap_flag": False,
        "aug_prob": 0.5,
    }
    return SimpleNamespace(**{**keys, **changed})


def test_built_from_the_configuration():
    assert build_instaboost(config(aug_prob=0.0)) is None
    settings = build_instaboost(config(use_instaboost_fast=False, heatmap_flag=True, dx=7)).settings
    assert (settings.hard_edge, settings.heatmap_flag, settings.dx, settings.aug_prob) == (False, True, 7, 0.5)


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"action_candidate": ["normal", "turn"], "action_prob": [1, 0]}, "turn"),
        ({"action_prob": [1, 0]}, "action_prob"),
        ({"action_prob": [0.5, 0.1, 0.1]}, "action_prob"),
        ({"scale": [1.2, 0.8]}, "scale"),
        ({"theta": [1]}, "theta"),
        ({"dx": 0}, "dx"),
        ({"color_prob": 1.5}, "color_prob"),
        ({"instaboost_backend": "other"}, "instaboost_backend"),
    ],
)
def test_impossible_settings(changed, named):
    with pytest.raises(UserError, match=named):
        build_instaboost(config(**changed))


def test_masks_not_read():
    sample = replace(scene([(20, 20, 60, 50)], 80, 90), masks=None)
    with pytest.raises(UserError, match="masks"):
        always()(sample, np.random.default_rng(0))
