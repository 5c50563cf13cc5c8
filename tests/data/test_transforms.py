"""Geometry: boxes follow the pixels. A painted rectangle is transformed and looked for."""

import numpy as np
import pytest

from src.data.augmentation import train_transforms
from src.data.masks import MaskPatch
from src.data.sample import Sample
from src.data.transforms import (
    RandomCrop,
    RandomExpand,
    RandomFlip,
    Resize,
    apply_transforms,
    resized_hw,
)

PAINT = 255


def painted(height: int, width: int, box: tuple[int, int, int, int]) -> Sample:
    """A dark sample with one white rectangle, which is its object."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = PAINT
    return sample_of(image, [box])


def sample_of(image: np.ndarray, boxes: list) -> Sample:
    count = len(boxes)
    return Sample(
        image=image,
        original_hw=image.shape[:2],
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.arange(count, dtype=np.int32),
        crowd=np.zeros(count, bool),
        masks=[box_patch(box, n + 1) for n, box in enumerate(boxes)],
    )


def box_patch(box: list, number: int = 1) -> MaskPatch:
    """A mask that fills a box, of pixels `number`: so that it can be told from others."""
    x1, y1, x2, y2 = (round(value) for value in box)
    return MaskPatch(np.full((y2 - y1, x2 - x1), number, np.uint8), x1, y1)


def found_box(image: np.ndarray) -> np.ndarray:
    """Bounds of what is at least half white."""
    mask = image[..., 0] >= PAINT / 2
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def random_case(rng: np.random.Generator) -> Sample:
    height, width = rng.integers(60, 160, 2)
    x1, y1 = rng.integers(0, width - 30), rng.integers(0, height - 30)
    x2, y2 = x1 + rng.integers(20, width - x1 + 1), y1 + rng.integers(20, height - y1 + 1)
    return painted(height, width, (x1, y1, x2, y2))


@pytest.mark.parametrize("keep_ratio", [True, False])
@pytest.mark.parametrize("ratio_range", [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("expand_ratio", [0.0, 1.0])
def test_boxes_follow_the_pixels_through_everything(keep_ratio, ratio_range, expand_ratio):
    rng = np.random.default_rng(3)
    seen = 0
    for _ in range(60):
        transforms = train_transforms((96, 128), keep_ratio, 0.5, expand_ratio, ratio_range, fill=(0, 0, 0))
        result = apply_transforms(random_case(rng), transforms, rng)
        assert result.image.dtype == np.uint8 and result.boxes.dtype == np.float32
        assert result.image.shape[0] <= 96 and result.image.shape[1] <= 128
        if len(result.boxes) and np.min(result.boxes[0, 2:] - result.boxes[0, :2]) > 4:
            assert np.abs(found_box(result.image) - result.boxes[0]).max() <= 1.5
            seen += 1
    assert seen >= 35


def test_keep_ratio_fits_within_the_target():
    result = Resize((100, 100), keep_ratio=True)(painted(50, 80, (10, 10, 30, 40)), np.random.default_rng(0))
    assert result.image.shape == (63, 100, 3)  # 50 * 100 / 80 = 62.5
    assert result.scale == (63 / 50, 100 / 80)
    assert np.allclose(result.boxes[0], [12.5, 12.6, 37.5, 50.4])
    assert result.original_hw == (50, 80)


def test_stretch_takes_the_target_itself():
    result = Resize((100, 40), keep_ratio=False)(painted(50, 80, (10, 10, 30, 40)), np.random.default_rng(0))
    assert result.image.shape == (100, 40, 3)
    assert np.allclose(result.boxes[0], [5, 20, 15, 80])


def test_very_flat_images_keep_a_pixel():
    assert resized_hw(2, 5000, (640, 640), True) == (1, 640)


def test_jitter_draws_from_the_range():
    rng, resize = np.random.default_rng(0), Resize((100, 100), True, (0.5, 2.0))
    sides = [resize(painted(50, 50, (0, 0, 9, 9)), rng).image.shape[0] for _ in range(200)]
    assert 50 <= min(sides) < 60 and 190 < max(sides) <= 200 and 115 < np.mean(sides) < 135


def test_crop_drops_what_is_cut_away_with_its_label_and_mask():
    image = np.zeros((40, 200, 3), np.uint8)
    sample = sample_of(image, [[0, 0, 20, 20], [90, 5, 110, 30], [180, 0, 200, 20]])
    rng = np.random.default_rng(0)
    kept_counts = set()
    for _ in range(50):
        result = RandomCrop((40, 60))(sample, rng)
        boxes, labels = result.boxes, result.labels
        assert result.image.shape == (40, 60, 3)
        assert [patch.pixels[0, 0] - 1 for patch in result.masks] == labels.tolist()
        assert len(result.crowd) == len(labels)
        if len(boxes):
            assert boxes.min() >= 0 and boxes[:, [0, 2]].max() <= 60
            assert (boxes[:, 2:] > boxes[:, :2]).all()
        kept_counts.add(len(boxes))
    assert kept_counts >= {0, 1}
    assert len(sample.boxes) == 3 and np.array_equal(sample.boxes[1], [90, 5, 110, 30])


def test_crop_leaves_smaller_images_alone():
    sample = painted(30, 50, (1, 2, 20, 20))
    assert RandomCrop((40, 60))(sample, np.random.default_rng(0)) is sample


def test_flip_is_a_mirror_and_its_own_inverse():
    sample, flip = painted(30, 50, (1, 2, 20, 25)), RandomFlip(1.0)
    once = flip(sample, np.random.default_rng(0))
    assert once.boxes.tolist() == [[30, 2, 49, 25]]
    assert np.array_equal(once.image, sample.image[:, ::-1])
    twice = flip(once, np.random.default_rng(0))
    assert np.array_equal(twice.image, sample.image) and np.array_equal(twice.boxes, sample.boxes)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_flip_probability(probability):
    rng, sample = np.random.default_rng(0), painted(30, 50, (1, 2, 20, 25))
    flipped = sum(RandomFlip(probability)(sample, rng) is not sample for _ in range(400)) / 400
    assert abs(flipped - probability) <= 0.07


def test_expansion_places_the_image_on_the_fill_colour():
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(20):
        result = RandomExpand(1.0, (10.4, 20, 30))(painted(30, 50, (0, 0, 50, 30)), rng)
        image = result.image
        assert np.array_equal(found_box(image), result.boxes[0])
        outside = image[(image != PAINT).all(axis=2)]
        assert (outside == (10, 20, 30)).all()
        ratios.append(image.shape[0] / 30)
    assert 1 <= min(ratios) < 1.8 and 3 < max(ratios) <= 4


def test_without_objects():
    sample = sample_of(np.zeros((70, 90, 3), np.uint8), [])
    transforms = train_transforms((64, 64), True, 1.0, 1.0, (0.5, 2.0))
    for seed in range(10):
        result = apply_transforms(sample, transforms, np.random.default_rng(seed))
        assert result.boxes.shape == (0, 4) and result.labels.shape == (0,) and result.masks == []


def test_transforms_leave_their_input_alone():
    sample = painted(70, 90, (10, 10, 40, 50))
    before = {name: np.copy(getattr(sample, name)) for name in ("image", "boxes", "labels", "crowd")}
    apply_transforms(sample, train_transforms((64, 64), True, 1.0, 1.0, (1.5, 2.0)), np.random.default_rng(0))
    assert all(np.array_equal(getattr(sample, name), before[name]) for name in before)
