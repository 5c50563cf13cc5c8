"""Scale jitter and crop against mmdetection's rules, written here once more, and how their draws are distributed.

The rules (RandomResize with a ratio_range, RandomCrop of an absolute size, RandomFlip, padding after normalization):
the target times the ratio, cut to whole pixels, bounds the longer and the shorter side; sides are rounded half up;
the window's offsets are whole numbers from 0 to what the image has more; boxes are moved and clipped, and those with
no extent inside are dropped; a mirrored x is the width minus x; the frame is filled up at the right and below.
"""

import cv2
import numpy as np
import pytest

from src.config import load_config
from src.data.augmentation import train_transforms
from src.data.network_input import Normalizer
from src.data.sample import Sample
from src.data.transforms import RandomCrop, Resize, apply_transforms
from tests.conftest import ROOT

NAS_FPN = load_config(ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640_50e.yaml")
SPINENET = load_config(ROOT / "configs/spinenet_retinanet/retinanet_spinenet_49_640_350e.yaml")
FRAME = 96  # the recipes' 640, to be quick


class Draws:
    """A generator whose results are chosen: shares of each range, in the order of the draws."""

    def __init__(self, shares: np.ndarray) -> None:
        self.shares = iter(shares.tolist())

    def random(self) -> float:
        return next(self.shares)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * next(self.shares)

    def integers(self, count: int) -> int:
        return int(count * next(self.shares))


def mmdetections(
    image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, shares: np.ndarray, ratio_range: list[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, boxes and labels after its pipeline, for a frame of FRAME x FRAME."""
    height, width = image.shape[:2]
    ratio = shares[0] * (ratio_range[1] - ratio_range[0]) + ratio_range[0]
    long_edge = short_edge = int(FRAME * ratio)
    factor = min(long_edge / max(height, width), short_edge / min(height, width))
    new_width, new_height = int(width * factor + 0.5), int(height * factor + 0.5)
    image = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    boxes = boxes * np.array([new_width / width, new_height / height] * 2)
    top, left = (int(share * (max(side - FRAME, 0) + 1)) for share, side in zip(shares[1:3], image.shape, strict=False))
    image = image[top : top + FRAME, left : left + FRAME]
    height, width = image.shape[:2]
    boxes = boxes - [left, top, left, top]
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    inside = (boxes[:, 0] < width) & (boxes[:, 1] < height) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    boxes, labels = boxes[inside], labels[inside]
    if shares[3] < 0.5:
        image = image[:, ::-1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)
    return image, boxes, labels


def random_objects(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Twenty boxes of all sizes, many of them thin or at an edge."""
    corners = rng.uniform(0, 1, (20, 2, 2)).round(2)
    corners[:10, 1] = corners[:10, 0] + rng.uniform(0.005, 0.05, (10, 2))
    corners = np.sort(corners.clip(0, 1), axis=1) * [width, height]
    boxes = corners.reshape(-1, 4)
    return boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)].astype(np.float32)


@pytest.mark.parametrize("config", [NAS_FPN, SPINENET], ids=["nas_fpn", "spinenet"])
def test_images_boxes_and_labels_equal_mmdetections_for_the_same_draws(config):
    rng = np.random.default_rng(5)
    transforms = train_transforms(
        (FRAME, FRAME), config.keep_ratio, config.flip_ratio, config.expand_ratio, config.ratio_range
    )
    normalizer, mean, std = Normalizer(config.img_mean, config.img_std), config.img_mean, config.img_std
    dropped = slivers = 0
    for _ in range(200):
        height, width = rng.integers(20, 260, 2).tolist()
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        boxes = random_objects(rng, height, width)
        labels = np.arange(len(boxes), dtype=np.int32)
        shares = rng.uniform(size=4)
        expected = mmdetections(image, boxes, labels, shares, config.ratio_range)
        sample = Sample(image, (height, width), boxes, labels, np.zeros(len(boxes), bool))
        found = apply_transforms(sample, transforms, Draws(shares))
        np.testing.assert_array_equal(found.image, expected[0])
        np.testing.assert_array_equal(found.labels, expected[2])
        np.testing.assert_allclose(found.boxes, expected[1], atol=1e-4)
        canvas = np.empty((3, FRAME, FRAME), np.float32)
        normalizer.write(found.image, canvas)
        padded = np.zeros((FRAME, FRAME, 3))
        padded[: expected[0].shape[0], : expected[0].shape[1]] = (expected[0] - np.array(mean)) / np.array(std)
        np.testing.assert_allclose(canvas.transpose(1, 2, 0), padded, atol=1e-5)
        dropped += len(labels) - len(found.labels)
        slivers += int((np.min(found.boxes[:, 2:] - found.boxes[:, :2], axis=1) < 1).sum())
    assert dropped > 20 and slivers > 20


def distance_from_uniform(values: np.ndarray) -> float:
    """Kolmogorov and Smirnov's statistic of values in 0..1, times the root of their number."""
    ordered, count = np.sort(values), len(values)
    above = np.arange(1, count + 1) / count - ordered
    below = ordered - np.arange(count) / count
    return float(np.sqrt(count) * max(above.max(), below.max()))


LIMIT = 1.95  # of one sample in a thousand


@pytest.mark.parametrize("config", [NAS_FPN, SPINENET], ids=["nas_fpn", "spinenet"])
def test_scales_are_uniform_over_the_published_range(config):
    low, high = config.ratio_range
    rng, resize, side = np.random.default_rng(1), Resize((1000, 1000), True, config.ratio_range), 1000
    blank = Sample(np.zeros((1, 1, 3), np.uint8), (1, 1))
    sides = np.array([resize(blank, rng).image.shape[0] for _ in range(400)])
    assert distance_from_uniform((sides - low * side) / ((high - low) * side)) < LIMIT


def test_places_of_the_window_are_uniform():
    rng, crop = np.random.default_rng(2), RandomCrop((40, 60))
    rows, columns = np.mgrid[:90, :130].astype(np.uint8)
    sample = Sample(np.stack([rows, columns, rows], 2), (90, 130))
    corners = np.array([crop(sample, rng).image[0, 0, :2] for _ in range(20000)])
    for offsets, margin in zip(corners.T, (90 - 40, 130 - 60), strict=True):
        counts = np.bincount(offsets, minlength=margin + 1)
        expected = len(offsets) / (margin + 1)
        assert len(counts) == margin + 1
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi_square - margin) < 4 * np.sqrt(2 * margin)
