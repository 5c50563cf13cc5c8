"""Pasting and encoding of masks: mmdetection's stored codes, a plain implementation, pycocotools' strings."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.blocks.detections import Detections
from src.evaluation.masks import encode_detections, encode_masks

ORACLE = Path(__file__).parents[1] / "oracles" / "mask_paste.npz"


def plain_paste(mask, box, height, width):
    """float64 [height, width]: the definition, pixel by pixel."""
    size = mask.shape[-1]
    padded = np.pad(mask.astype(np.float64), 1)
    x = (np.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * size + 0.5  # in the padded mask
    y = (np.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * size + 0.5
    x, y = (np.where((v > 0) & (v < size + 1), v, 0.0) for v in (x, y))  # place 0 holds a zero
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    fx, fy = x - left, (y - top)[:, None]
    upper = padded[top][:, left] * (1 - fx) + padded[top][:, left + 1] * fx
    lower = padded[top + 1][:, left] * (1 - fx) + padded[top + 1][:, left + 1] * fx
    return upper * (1 - fy) + lower * fy


@pytest.mark.parametrize("name", ["", "scaled08_"])
def test_codes_equal_mmdetections(name):
    with np.load(ORACLE) as oracle:
        logits, labels = oracle["paste/mask_logits"].astype(np.float32), oracle["paste/labels"]
        boxes, expected = oracle[f"paste/{name}boxes"], oracle[f"paste/{name}rle_counts"]
        height, width = oracle["paste/ori_hw"].tolist()
    boxes = boxes / 0.8 if name else boxes
    probabilities = 1 / (1 + np.exp(-logits[np.arange(len(labels)), labels]))
    for code, counts in zip(encode_masks(probabilities, boxes, height, width), expected.tolist(), strict=True):
        wanted = coco_mask.decode({"size": [height, width], "counts": counts})
        differing = np.count_nonzero(coco_mask.decode(code) != wanted)
        assert differing <= 0.002 * max(wanted.sum(), 1)


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.9, 1.0])
def test_equals_the_definition_anywhere_in_and_around_images(threshold):
    rng = np.random.default_rng(0)
    for _ in range(30):
        height, width = rng.integers(1, 90, 2).tolist()
        corners = rng.uniform(-40, 130, (7, 2, 2))
        boxes = np.concatenate([corners.min(1), corners.max(1)], 1)
        boxes[0], boxes[1] = (0, 0, width, height), (-5, -7, width + 5, height + 9)
        boxes[2] = (3.2, 4.1, 3.9, 60)
        masks = rng.random((7, 28, 28)).astype(np.float32)
        masks[0], masks[1], masks[3] = 1, 1, 0
        for code, mask, box in zip(encode_masks(masks, boxes, height, width, threshold), masks, boxes, strict=True):
            value, found = plain_paste(mask, box, height, width), coco_mask.decode(code)
            sure = np.abs(value - threshold) > 1e-5
            np.testing.assert_array_equal(found[sure], (value >= threshold)[sure])
            assert coco_mask.encode(np.asfortranarray(found))["counts"].decode() == code["counts"]


def test_a_whole_image_is_one_run():
    code = encode_masks(np.ones((1, 28, 28)), np.array([[0, 0, 30, 20]]), 20, 30)[0]
    assert code == {"size": [20, 30], "counts": coco_mask.encode(np.ones((20, 30), np.uint8, "F"))["counts"].decode()}


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 9], [9, 9, 5, 5], [np.nan, 0, 9, 9], [0, 0, np.inf, 9], [40, 5, 60, 9], [-9, -9, -1, -1]]
)
def test_boxes_that_show_nothing_give_empty_masks_beside_others(box):
    boxes = np.array([[2, 2, 8, 8], box, [3, 3, 9, 9]], np.float32)
    codes = encode_masks(np.ones((3, 28, 28), np.float32), boxes, 20, 30)
    assert coco_mask.area(codes).tolist() == [36, 0, 36]
    assert codes[1]["counts"] == coco_mask.encode(np.zeros((20, 30), np.uint8, "F"))["counts"].decode()


def test_nothing_to_encode():
    assert encode_masks(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4)), 20, 30) == []


def test_many_large_masks_go_in_groups():
    rng = np.random.default_rng(1)
    masks = rng.random((12, 28, 28)).astype(np.float32)
    boxes = np.tile(np.array([[0, 0, 640, 480]], np.float32), (12, 1))
    together = encode_masks(masks, boxes, 480, 640)
    assert together == [encode_masks(masks[i : i + 1], boxes[:1], 480, 640)[0] for i in range(12)]
    value = plain_paste(masks[11], boxes[11], 480, 640)
    assert np.count_nonzero(coco_mask.decode(together[11]) != (value >= 0.5)) <= 3


def test_batches_keep_the_rows_places():
    boxes = np.tile(np.array([2, 2, 8, 8], np.float32), (2, 3, 1))
    valid = np.array([[True, False, True], [False, False, False]])
    masks = np.ones((2, 3, 28, 28), np.float32)
    detections = Detections(boxes, np.ones((2, 3)), np.zeros((2, 3), np.int32), valid, masks)
    info = np.array([[20, 30, 8, 8, 1, 1], [6, 5, 8, 8, 1, 1]], np.float32)
    codes = encode_detections(detections, info, 0.5)
    assert [[code is not None for code in row] for row in codes] == valid.tolist()
    assert codes[0][2]["size"] == [20, 30]
    assert encode_detections(detections._replace(masks=None), info, 0.5) is None
