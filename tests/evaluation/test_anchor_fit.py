"""Anchor statistics: best overlaps against all anchors, resizing, suggestions, the command."""

import json
import subprocess
import sys

import numpy as np
import pytest

from src.blocks.anchor_generator import AnchorGenerator
from src.config import load_config
from src.data.record import Record
from src.evaluation.anchor_fit import (
    AnchorFit,
    NetworkObjects,
    best_overlaps,
    fit_of,
    objects_in_network_pixels,
    suggest,
)
from tests.conftest import ROOT
from tests.data.coco_files import NAMES, write_dataset

RETINANET = ROOT / "configs/demo/spinenet_retinanet.yaml"


def in_input(config, boxes) -> NetworkObjects:
    """Boxes in the configuration's frame."""
    return NetworkObjects(boxes, np.tile(config.input_hw, (len(boxes), 1)))


def iou_with_all(anchors, boxes):
    """IoU [G, P] of boxes with all anchors, one by one."""
    low = np.maximum(anchors[None, :, :2], boxes[:, None, :2])
    high = np.minimum(anchors[None, :, 2:], boxes[:, None, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (boxes, anchors)]
    return overlap / (areas[0][:, None] + areas[1][None] - overlap)


@pytest.mark.parametrize(
    "settings",
    [
        {"octave_base_scale": 3, "scales_per_octave": 2},
        {"scales": [4, 7], "center_offset": 0.5},
        {"scales": [3], "rounded": True},
    ],
)
def test_best_overlaps_equal_those_with_all_anchors(settings):
    generator = AnchorGenerator([8, 16, 32], [0.5, 1.0, 2.2], **settings)
    rng = np.random.default_rng(0)
    sides = np.exp(rng.uniform(np.log(4), np.log(120), (300, 2)))
    corner = rng.uniform(0, 1, (300, 2)) * (np.array([160, 96]) - sides).clip(0)
    boxes = np.concatenate([corner, np.minimum(corner + sides, [160, 96])], axis=1)
    levels = generator.grid_anchors(generator.feature_sizes(96, 160))
    expected = np.stack([iou_with_all(level.astype(np.float64), boxes).max(axis=1) for level in levels], axis=1)
    np.testing.assert_allclose(best_overlaps(generator, (96, 160), boxes), expected, atol=1e-6)


def test_objects_are_resized_as_the_configuration_says():
    record = Record("a.png", 100, 200, 1, np.float32([[0, 0, 20, 10], [0, 0, 200, 100]]), np.int32([0, 0]))
    record.crowd = np.array([False, True])
    sizes = {"img_width": 128, "img_height": 128}
    kept = objects_in_network_pixels([record], load_config(RETINANET, {**sizes, "keep_ratio": True}))
    np.testing.assert_allclose(kept.boxes, [[0, 0, 12.8, 6.4]])
    assert kept.input_hw.tolist() == [[128, 128]]
    stretched = objects_in_network_pixels([record], load_config(RETINANET, {**sizes, "keep_ratio": False}))
    np.testing.assert_allclose(stretched.boxes, [[0, 0, 12.8, 12.8]])


def test_portraits_are_resized_into_the_turned_frame():
    boxes = np.float32([[0, 0, 20, 10], [40, 90, 50, 100]])
    records = [Record(f"{n}.png", *size, n, boxes, np.int32([0, 0])) for n, size in enumerate([(100, 50), (100, 200)])]
    for record in records:
        record.crowd = np.zeros(2, bool)
    config = load_config(ROOT / "configs/demo/mask_rcnn.yaml", {"img_width": 100, "img_height": 64, "divider": 32})
    found = objects_in_network_pixels(records, config)
    np.testing.assert_allclose(found.boxes, [[0, 0, 20, 10], [40, 90, 50, 100], [0, 0, 10, 5], [20, 45, 25, 50]])
    assert found.input_hw.tolist() == [[128, 64]] * 2 + [[64, 128]] * 2
    alone = [fit_of(config, found.take(np.arange(4) // 2 == n)).overlaps for n in range(2)]
    np.testing.assert_array_equal(fit_of(config, found).overlaps, np.concatenate(alone))
    generator = AnchorGenerator([16, 32], [1.0], scales=[1])
    anchors = generator.grid_anchors(generator.feature_sizes(128, 64))
    expected = np.stack([iou_with_all(level.astype(np.float64), found.boxes[:2]).max(axis=1) for level in anchors], 1)
    np.testing.assert_allclose(best_overlaps(generator, found.input_hw[:2], found.boxes[:2]), expected, atol=1e-6)


def test_recall_and_levels_by_hand():
    fit = AnchorFit(np.array([[0.9, 0.2], [0.5, 0.5], [0.1, 0.6], [0.3, 0.4]]), threshold=0.5)
    assert fit.recall(np.array([0.4, 0.5, 0.6, 0.95])).tolist() == [1.0, 0.75, 0.5, 0.0]
    assert fit.objects_per_level.tolist() == [2, 2]
    assert fit.quality == (0.75, pytest.approx(0.6))


@pytest.mark.parametrize("name", ["demo/spinenet_retinanet", "demo/mask_rcnn", "refinedet/refinedet_vgg16_320"])
def test_suggestions_reach_small_and_flat_objects(name):
    config = load_config(ROOT / f"configs/{name}.yaml")
    rng = np.random.default_rng(1)
    corner, wide = rng.uniform(0, 80, (400, 2)), rng.uniform(9, 13, (400, 1))
    boxes = np.concatenate([corner, corner + wide * [1, 1 / 3]], axis=1)
    objects = in_input(config, boxes)
    own = fit_of(config, objects)
    changes, better, tried = suggest(config, objects)
    assert tried == 22 and len(set(changes) & {"scales", "octave_base_scale"}) == 1
    assert changes.get("ratios", [0.333]) == [0.333]  # once: the objects have no other shape
    assert better.best.mean() > own.best.mean() + 0.15
    assert fit_of(config, objects, **changes).quality == better.quality


def test_anchors_that_fit_are_left_alone():
    config = load_config(RETINANET)
    sides = np.array([16.0, 32.0, 64.0])[np.arange(60) % 3]
    corner = np.arange(60)[:, None] % 8 * np.float64([8, 8])
    boxes = np.concatenate([corner, corner + sides[:, None]], axis=1)
    assert suggest(config, in_input(config, boxes))[0] == {}


@pytest.mark.end_to_end
def test_as_a_command(tmp_path):
    write_dataset(tmp_path / "set", 6)
    (tmp_path / "c.yaml").write_text(
        f"base: {RETINANET}\ncoco_classes: {json.dumps(['background', *NAMES])}\nnum_classes: 4\n"
    )
    program = [sys.executable, str(ROOT / "tools/anchor_statistics.py"), "--config_path", "c.yaml"]
    program += ["--train_dataset", "set"]
    done = subprocess.run([*program, "--output", "a.png"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "6 objects in 6 images" in done.stdout and "at most 2 objects per image (num_gts: 16)" in done.stdout
    assert (tmp_path / "a.png").stat().st_size > 5000
    failed = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1) and "--output is missing" in failed.stderr


def test_a_data_set_without_objects_is_an_error(tmp_path):
    from src.commands.anchors import report_anchors
    from src.common.errors import UserError

    write_dataset(tmp_path, 1)
    config = load_config(
        RETINANET, {"train_dataset": str(tmp_path), "coco_classes": ["background", *NAMES], "num_classes": 4}
    )
    with pytest.raises(UserError, match="no object"):
        report_anchors(config, tmp_path / "a.png")
