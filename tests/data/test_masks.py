"""Segmentations decoded to patches: pycocotools' pixels, run lengths, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.data.masks import MaskError, decode_mask, tight_patch
from src.data.synthetic import run_lengths

ORACLES = Path(__file__).parents[1] / "oracles"
EXPECTED = np.load(ORACLES / "coco_masks.npz")
BITMAPS = np.load(ORACLES / "mask_targets.npz")
HEIGHT, WIDTH = EXPECTED["image_hw"].tolist()


def expected_bitmap(index: int) -> np.ndarray:
    shape = BITMAPS["bitmaps_shape"]
    return np.unpackbits(BITMAPS["bitmaps"])[: np.prod(shape)].reshape(shape)[index]


def pasted_by_pycocotools(segmentation, height: int, width: int) -> np.ndarray:
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width)))


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("kind", ["polygon", "compressed", "bytes", "uncompressed"])
def test_published_numbers(index, kind):
    counts = str(EXPECTED["rle_counts"][index])
    bitmap = expected_bitmap(index)
    segmentation = {
        "polygon": json.loads(str(EXPECTED["polygons_json"]))[index],
        "compressed": {"size": [HEIGHT, WIDTH], "counts": counts},
        "bytes": {"size": [HEIGHT, WIDTH], "counts": counts.encode()},
        "uncompressed": run_lengths(bitmap.astype(bool)),
    }[kind]
    patch = decode_mask(segmentation, HEIGHT, WIDTH)
    left, top, right, bottom = patch.box
    assert patch.pixels.dtype == np.uint8 and patch.pixels.flags.c_contiguous
    assert patch.area == EXPECTED["rle_area"][index]
    assert [left, top, right - left, bottom - top] == EXPECTED["rle_bbox"][index].tolist()
    assert np.array_equal(patch.bitmap(HEIGHT, WIDTH), bitmap)


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_polygons_anywhere_give_the_pixels_that_the_whole_image_would(digits):
    """Coordinates of one digit put many points on pycocotools' rounding ties."""
    rng = np.random.default_rng(digits)
    for _ in range(150):
        height, width = rng.integers(20, 90, 2).tolist()
        points = [rng.uniform(-15, 105, (int(rng.integers(3, 9)), 2)) for _ in range(int(rng.integers(1, 3)))]
        polygons = [polygon.round(digits).ravel().tolist() for polygon in points]
        patch = decode_mask(polygons, height, width)
        assert np.array_equal(patch.bitmap(height, width), pasted_by_pycocotools(polygons, height, width))


def test_run_lengths_of_any_bitmap():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.02, 0.5, 0.98, 1.0):
        for _ in range(20):
            bitmap = np.asfortranarray(rng.random(rng.integers(1, 70, 2)) < share).astype(np.uint8, order="F")
            for segmentation in (coco_mask.encode(bitmap), run_lengths(bitmap.astype(bool))):
                patch = decode_mask({**segmentation, "size": list(bitmap.shape)}, *bitmap.shape)
                assert np.array_equal(patch.bitmap(*bitmap.shape), bitmap)
                assert patch.area == bitmap.sum()


def test_long_run_lengths():
    """Numbers of several characters, positive and negative."""
    bitmap = np.zeros((1500, 900), np.uint8, order="F")
    bitmap[3:1400, 200] = bitmap[:, 300:800] = bitmap[700, 850] = 1
    patch = decode_mask(coco_mask.encode(bitmap), 1500, 900)
    assert patch.box == (200, 0, 851, 1500) and np.array_equal(patch.bitmap(1500, 900), bitmap)


@pytest.mark.parametrize(
    "segmentation",
    [
        [[70, 10, 90, 10, 90, 30]],
        [[5, 5, 5, 5, 5, 5]],
        {"size": [40, 60], "counts": [2400]},
        [[-9, -9, -2, -9, -2, -2]],
    ],
)
def test_what_covers_no_pixel_is_empty(segmentation):
    patch = decode_mask(segmentation, 40, 60)
    assert patch.pixels.shape == (0, 0) and patch.area == 0 and patch.bitmap(40, 60).sum() == 0


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "no segmentation"),
        ([], "no segmentation"),
        ([[]], "fewer than three points"),
        ([[1, 1, 5, 5]], "fewer than three points"),
        ([[1, 1, 5, 5, 7]], "odd number"),
        ([1, 1, 5, 5, 7, 9], "neither an RLE nor"),
        ("square", "no segmentation"),
        ([[1, 1, 5, "x", 7, 9]], "something other than numbers"),
        ([[1, 1, 5, float("nan"), 7, 9]], "far outside"),
        ([[1, 1, 5, 1e12, 7, 9]], "far outside"),
        ({"counts": [2400]}, "size None, the image is"),
        ({"size": [60, 40], "counts": [2400]}, r"size \[60, 40\], the image is \[40, 60\]"),
        ({"size": [40, 60]}, "no counts"),
        ({"size": [40, 60], "counts": [100, 20]}, "end after 120 pixels, the image has 2400"),
        ({"size": [40, 60], "counts": [2500, -100]}, "runs of its RLE"),
        ({"size": [40, 60], "counts": [2400.0]}, "not whole numbers"),
        ({"size": [40, 60], "counts": [[2400], 1]}, "not whole numbers"),
        ({"size": [40, 60], "counts": "not an RLE"}, "not a compressed RLE"),
        ({"size": [40, 60], "counts": "o" * 40}, "not a compressed RLE"),
        ({"size": [40, 60], "counts": "11"}, "end after 2 pixels"),
    ],
)
def test_broken_segmentations_say_what_is_wrong(segmentation, message):
    with pytest.raises(MaskError, match=message):
        decode_mask(segmentation, 40, 60)


def test_tight_patch_moves_with_its_offset():
    pixels = np.zeros((9, 8), np.uint8)
    pixels[2:5, 3:7] = 1
    patch = tight_patch(pixels, 10, 20)
    assert patch.box == (13, 22, 17, 25) and patch.area == 12
    assert tight_patch(np.zeros((3, 4), np.uint8), 5, 5).area == 0


def test_bitmap_cuts_off_what_lies_outside():
    patch = tight_patch(np.ones((6, 6), np.uint8), -2, 3)
    assert patch.bitmap(5, 10).sum() == 8
