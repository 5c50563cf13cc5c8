"""Masks after augmentation, as the network gets them: windows, resolution, geometry, and published mask targets."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.mask_canvas import DrawMasks, mask_canvases, mask_windows, paste_canvas
from src.data.masks import MaskPatch, tight_patch
from src.data.sample import IDENTITY, Sample
from src.data.transforms import RandomCrop, RandomExpand, RandomFlip, Resize, apply_transforms

EXPECTED = np.load(Path(__file__).parents[1] / "oracles" / "mask_targets.npz")
SHAPE = tuple(EXPECTED["bitmaps_shape"].tolist())
BITMAPS = np.unpackbits(EXPECTED["bitmaps"])[: np.prod(SHAPE)].reshape(SHAPE)
BOXES = EXPECTED["rle_bbox"].astype(np.float32)
BOXES[:, 2:] += BOXES[:, :2]


def roi_align(image: np.ndarray, roi: np.ndarray, size: int) -> np.ndarray:
    """RoIAlign of one channel (aligned, as many samples as an output pixel has pixels), as its paper describes it."""
    height, width = image.shape
    x1, y1, x2, y2 = roi - 0.5
    positions = []
    for start, end, count in ((y1, y2, height), (x1, x2, width)):
        samples = max(int(np.ceil((end - start) / size)), 1)
        place = start + (np.arange(size * samples) + 0.5) * (end - start) / (size * samples)
        inside = (place >= -1) & (place <= count)
        place = np.clip(place, 0, count - 1)
        low = np.minimum(place.astype(int), max(count - 2, 0))
        weights = np.zeros((len(place), count))
        weights[np.arange(len(place)), np.minimum(low + 1, count - 1)] = place - low
        weights[np.arange(len(place)), low] += 1 - (place - low)
        positions.append((weights * inside[:, None]).reshape(size, samples, count).mean(axis=1))
    return positions[0] @ image @ positions[1].T


def targets_from(canvases: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """28 x 28 targets of the published regions."""
    targets = []
    for roi, index in zip(EXPECTED["rois"].astype(np.float64), EXPECTED["gt_inds"], strict=True):
        scale = np.array(canvases.shape[:0:-1]) / windows[index, 2:]
        moved = (roi.reshape(2, 2) - windows[index, :2]) * scale
        targets.append(roi_align(canvases[index].astype(np.float64), moved.ravel(), 28) >= 127.5)
    return np.array(targets)


@pytest.mark.parametrize(
    ("size", "divider", "least"), [(160, 1, 1.0), (128, 1, 0.9995), (64, 1, 0.995), (96, 1, 0.995), (64, 2, 0.97)]
)
def test_canvases_give_the_published_targets(size, divider, least):
    """At exact resolution all pixels are equal; objects larger than a canvas of 64 are averaged."""
    patches = [tight_patch(bitmap) for bitmap in BITMAPS]
    canvases = mask_canvases(patches, BOXES, IDENTITY, SHAPE[1:], size, divider)
    windows = mask_windows(BOXES, size, divider, SHAPE[1:])
    equal = targets_from(canvases, windows) == EXPECTED["target_bitmap28"]
    assert equal.mean() >= least
    kept_exactly = (windows[EXPECTED["gt_inds"], 2:] == size).all(axis=1) | (size >= max(SHAPE[1:]))
    if divider == 1:
        assert kept_exactly.any() and equal[kept_exactly].all()


def test_windows():
    boxes = np.array([[0.2, 0.9, 10, 20.5], [30.5, 40, 62.1, 99.9], [90, 90, 100, 100]], np.float32)
    assert mask_windows(boxes, 32, 1, (100, 100)).tolist() == [[0, 0, 32, 32], [29, 39, 35, 62], [89, 89, 32, 32]]
    assert mask_windows(boxes, 16, 3, (100, 100)).tolist() == [[0, 0, 48, 48], [29, 39, 48, 62], [89, 89, 48, 48]]
    assert mask_windows(boxes, 100, 1, (80, 100)).tolist() == [[0, 0, 100, 80]] * 3
    assert mask_windows(boxes[:0], 32, 1, (100, 100)).shape == (0, 4)


def blob(height: int, width: int, rng: np.random.Generator) -> MaskPatch:
    """A random mask with holes somewhere in an image."""
    coarse = cv2.resize(rng.random((7, 8)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    pixels = (coarse > 0.55).astype(np.uint8)
    x, y = rng.integers(0, width // 2), rng.integers(0, height // 2)
    pixels[:y] = pixels[:, :x] = 0
    return tight_patch(pixels)


def test_a_copy_where_scale_and_place_agree():
    rng = np.random.default_rng(0)
    patch = blob(50, 60, rng)
    boxes = np.array([patch.box], np.float32)
    (whole,) = mask_canvases([patch], boxes, IDENTITY, (50, 60), 64, 1)
    assert np.array_equal(whole, patch.bitmap(50, 60) * 255)
    (flipped,) = mask_canvases([patch], boxes, (-1.0, 60.0, 1.0, 0.0), (50, 60), 64, 1)
    assert np.array_equal(flipped, whole[:, ::-1])
    (moved,) = mask_canvases([patch], boxes, (1.0, 7.0, 1.0, 4.0), (64, 70), 70, 1)
    assert np.array_equal(moved[4:54, 7:67], whole) and moved.sum() == whole.sum()


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_means_of_areas_when_reduced_by_a_whole_factor(factor):
    patch = blob(60, 90, np.random.default_rng(factor))
    mapping = (1 / factor, 0.0, 1 / factor, 0.0)
    (reduced,) = mask_canvases([patch], np.zeros((1, 4), np.float32), mapping, (60 // factor, 90 // factor), 64, 1)
    bitmap = patch.bitmap(60, 90).astype(np.float64) * 255
    means = bitmap.reshape(60 // factor, factor, 90 // factor, factor).mean(axis=(1, 3))
    assert np.abs(reduced - means).max() <= 0.51


@pytest.mark.parametrize("scale", [(1.7, 2.3), (3.0, 1.0), (4.25, 1.01)])
def test_bilinear_when_enlarged(scale):
    """As cv2.resize does with the image, borders included."""
    patch = blob(40, 50, np.random.default_rng(1))
    height, width = round(40 * scale[0]), round(50 * scale[1])
    mapping = (width / 50, 0.0, height / 40, 0.0)
    (drawn,) = mask_canvases([patch], np.zeros((1, 4), np.float32), mapping, (height, width), 256, 1)
    resized = cv2.resize(patch.bitmap(40, 50).astype(np.float32) * 255, (width, height))
    assert np.abs(drawn - resized).max() <= 1


def test_nothing_beyond_the_image_and_copies_beyond_the_input():
    patch = MaskPatch(np.ones((20, 30), np.uint8), 30, 40)
    boxes = np.array([[30, 40, 60, 60]], np.float32)
    (canvas,) = mask_canvases([patch], boxes, IDENTITY, (60, 60), 40, 1)
    assert (canvas[:, 0] == 0).all() and (canvas[0] == 0).all() and (canvas[1:, 1:] == 255).all()
    (canvas,) = mask_canvases([patch], boxes, IDENTITY, (64, 64), 40, 1, image_hw=(60, 60))
    assert canvas.sum() == 255 * 20 * 30
    (canvas,) = mask_canvases([patch], boxes, IDENTITY, (64, 64), 40, 1, image_hw=(50, 55))
    assert canvas.sum() == 255 * 10 * 25


def rectangle_sample(rng: np.random.Generator) -> Sample:
    height, width = rng.integers(60, 160, 2).tolist()
    x1, y1 = int(rng.integers(0, width - 30)), int(rng.integers(0, height - 30))
    x2, y2 = int(rng.integers(x1 + 20, width + 1)), int(rng.integers(y1 + 20, height + 1))
    image = np.zeros((height, width, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    return Sample(
        image=image,
        original_hw=(height, width),
        boxes=np.array([[x1, y1, x2, y2]], np.float32),
        labels=np.zeros(1, np.int32),
        crowd=np.zeros(1, bool),
        masks=[MaskPatch(np.ones((y2 - y1, x2 - x1), np.uint8), x1, y1)],
    )


@pytest.mark.parametrize("size", [16, 48, 128])
@pytest.mark.parametrize("ratio_range", [(1.0, 1.0), (0.5, 0.7), (0.8, 1.8)])
def test_masks_follow_boxes_and_pixels_through_every_transform(ratio_range, size):
    rng = np.random.default_rng(size)
    seen = 0
    for _ in range(30):
        steps = [RandomExpand(0.5, (0, 0, 0), 2.0), Resize((96, 128), bool(rng.integers(2)), ratio_range)]
        steps += [RandomCrop((96, 128)), RandomFlip(0.5), DrawMasks(5, (128, 128), size)]
        result = apply_transforms(rectangle_sample(rng), steps, rng)
        assert result.masks is None and len(result.canvases) == len(result.boxes) <= 1
        if not len(result.boxes):
            continue
        pasted = paste_canvas(result.canvases[0], result.boxes[0], 1, (128, 128))
        x1, y1, x2, y2 = result.boxes[0]
        coarseness = max(x2 - x1 + 3, y2 - y1 + 3, size) / size
        found = tight_patch((pasted >= 128).astype(np.uint8)).box
        if min(x2 - x1, y2 - y1) > 4 * coarseness:
            assert np.abs(np.array(found) - result.boxes[0]).max() <= max(1.0, coarseness)
            seen += 1
        if coarseness == 1:
            height, width = result.image.shape[:2]
            assert np.abs(pasted[:height, :width].astype(int) - result.image[..., 0]).mean() < 4
            assert pasted[height:].sum() == pasted[:, width:].sum() == 0
    assert seen >= 20


def test_a_crop_drops_objects_whose_mask_it_cuts_away():
    """Of a diagonal line's box, a corner without any of the line."""
    sample = rectangle_sample(np.random.default_rng(0))
    sample = replace(sample, image=np.zeros((100, 100, 3), np.uint8), original_hw=(100, 100))
    sample.boxes = np.array([[0, 0, 100, 100]], np.float32)
    sample.masks = [MaskPatch(np.eye(100, dtype=np.uint8), 0, 0)]
    kept = set()
    for seed in range(60):
        crop = RandomCrop((30, 30))(sample, np.random.default_rng(seed))
        _, offset_x, _, offset_y = crop.mapping
        assert len(crop.boxes) == len(crop.masks) == (abs(offset_x - offset_y) < 30)
        kept.add(len(crop.boxes))
    assert kept == {0, 1}


def test_only_targets_are_drawn_the_largest_ones():
    sample = rectangle_sample(np.random.default_rng(0))
    boxes = np.array([[0, 0, 9, 9], [0, 0, 30, 30], [0, 0, 20, 20], [0, 0, 40, 40]], np.float32)
    masks = [MaskPatch(np.ones((int(box[3]), int(box[2])), np.uint8), 0, 0) for box in boxes]
    crowd = np.array([0, 0, 0, 1], bool)
    sample = replace(sample, boxes=boxes, labels=np.arange(4), crowd=crowd, masks=masks)
    drawn = DrawMasks(2, (160, 160), 32)(sample, np.random.default_rng(0))
    assert drawn.labels.tolist() == [1, 2]
    assert (drawn.canvases.reshape(2, -1).sum(axis=1) == [255 * 900, 255 * 400]).all()


def test_100_objects_at_1024_pixels_take_less_than_16_megabytes():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 900, (100, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(4, 120, (100, 2))], axis=1).astype(np.float32)
    patches = [
        MaskPatch(np.ones((int(y2) - int(y1), int(x2) - int(x1)), np.uint8), int(x1), int(y1))
        for x1, y1, x2, y2 in boxes
    ]
    canvases = mask_canvases(patches, boxes, IDENTITY, (1024, 1024), 128, 1)
    assert canvases.nbytes < 2e6
    areas = [patch.area for patch in patches]
    assert np.array_equal(canvases.reshape(100, -1).sum(axis=1, dtype=np.int64) // 255, areas)
