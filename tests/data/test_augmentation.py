"""SSD's augmentation: colours and the crop around objects, against their definitions."""

import cv2
import numpy as np
import pytest

from src.data.augmentation import train_transforms
from src.data.iou_crop import MIN_OVERLAPS, MinIoURandomCrop
from src.data.mask_canvas import mask_canvases
from src.data.masks import MaskPatch
from src.data.photometric import BRIGHTNESS, CONTRAST, HUE, SATURATION, PhotometricDistortion
from src.data.sample import Sample
from src.data.transforms import RandomExpand, apply_transforms
from tests.data.coco_files import noise_image

HEIGHT, WIDTH = 120, 160


def sample(image: np.ndarray, boxes=(), crowd=(), masks=None) -> Sample:
    return Sample(
        image=image,
        original_hw=image.shape[:2],
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.arange(len(boxes), dtype=np.int32),
        crowd=np.array(crowd or [False] * len(boxes), bool),
        masks=masks,
    )


class Drawn:
    """A generator whose numbers are known: which parts are done, and by how much."""

    def __init__(self, parts: list[bool], numbers: list[float], contrast_first: bool = False, order=None):
        self.shares = np.where([True, order is not None, contrast_first, *parts], 0.0, 0.999)
        self.numbers, self.order = np.array(numbers), np.array(order or [0, 1, 2])

    def random(self, size: int) -> np.ndarray:
        assert size == len(self.shares)
        return self.shares

    def uniform(self, low, high) -> np.ndarray:
        return self.numbers

    def permutation(self, count: int) -> np.ndarray:
        return self.order


def distorted(image: np.ndarray, **drawn) -> np.ndarray:
    values = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    parts = [name in drawn for name in values]
    numbers = [drawn.pop(name, neutral) for name, neutral in values.items()]
    channels = 1.0 if drawn.get("order") else 0.0
    return PhotometricDistortion(1.0, channels)(sample(image), Drawn(parts, numbers, **drawn)).image


def reference_in_hsv(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    """In floating point, hue in degrees."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + hue) % 360
    hsv[..., 1] = np.minimum(hsv[..., 1] * saturation, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255


def test_brightness_and_contrast():
    image = noise_image(HEIGHT, WIDTH)
    assert np.array_equal(distorted(image, brightness=20.0), np.clip(image.astype(int) + 20, 0, 255))
    expected = np.clip(np.round(image * np.float32(1.3)), 0, 255)
    assert np.array_equal(distorted(image, contrast=1.3), expected)
    expected = np.clip(np.round(np.clip(image.astype(np.float32) - 30, 0, 255) * np.float32(0.7)), 0, 255)
    assert np.array_equal(distorted(image, brightness=-30.0, contrast=0.7), expected)


@pytest.mark.parametrize(("saturation", "hue"), [(0.6, 0.0), (1.4, 0.0), (1.0, 15.0), (1.0, -17.0), (0.8, 9.0)])
def test_saturation_and_hue(saturation, hue):
    image = noise_image(HEIGHT, WIDTH)
    changed = distorted(image, saturation=saturation, hue=hue).astype(float)
    difference = np.abs(changed - reference_in_hsv(image, saturation, hue))
    assert difference.mean() < 1.0 and difference.max() <= 11
    assert np.abs(changed - image).mean() > 3  # and it does something


def test_contrast_before_and_after_saturation():
    image = noise_image(HEIGHT, WIDTH)
    for contrast_first in (False, True):
        changed = distorted(image, contrast=1.5, saturation=0.5, contrast_first=contrast_first).astype(float)
        contrast = lambda values: np.clip(values * 1.5, 0, 255)  # noqa: E731
        expected = contrast(image.astype(float)) if contrast_first else image.astype(float)
        expected = reference_in_hsv(expected, 0.5, 0.0)
        expected = expected if contrast_first else contrast(expected)
        assert np.abs(changed - expected).mean() < 1.5
    orders = [distorted(image, contrast=1.5, saturation=0.5, contrast_first=first) for first in (False, True)]
    assert np.abs(orders[0].astype(int) - orders[1]).mean() > 2


def test_order_of_channels():
    image = noise_image(HEIGHT, WIDTH)
    assert np.array_equal(distorted(image, order=[2, 0, 1]), image[..., [2, 0, 1]])


def test_colour_changes_are_as_frequent_and_as_large_as_defined():
    grey = np.full((1, 1, 3), 128, np.uint8)
    transform, rng = PhotometricDistortion(1.0), np.random.default_rng(0)
    values = np.array([transform(sample(grey), rng).image[0, 0, 0] for _ in range(4000)], float)
    # Grey has no saturation: a quarter is left alone, the others are 128 + b, 128 * c or (128 + b) * c.
    assert np.mean(values == 128) == pytest.approx(0.25 + 0.25 / 65 + 0.25 / 128, abs=0.03)
    low, high = (128 - BRIGHTNESS) * CONTRAST[0], (128 + BRIGHTNESS) * CONTRAST[1]
    assert low - 1 <= values.min() < low + 15 and high - 20 < values.max() <= high + 1
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 200
    pixels = np.concatenate([transform(sample(red), rng).image for _ in range(4000)])
    hsv = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[:, 0]
    hue = (hsv[:, 0] + 180) % 360 - 180
    assert np.quantile(np.abs(hue), 0.99) <= HUE + 2 and np.quantile(np.abs(hue), 0.98) > 0.8 * HUE
    assert 0.4 < np.mean(np.abs(hue) < 1) < 0.65
    # A red that brightness lifts to (232, 32, 32), or contrast to (255, 48, 48) after that, has less to begin with.
    assert SATURATION[0] * (1 - 32 / 232) ** 2 - 0.1 < hsv[:, 1].min() < SATURATION[0] + 0.05


def test_colours_of_no_image_are_changed_at_probability_0_and_the_original_never_is():
    image = noise_image(HEIGHT, WIDTH)
    kept, rng = image.copy(), np.random.default_rng(0)
    for _ in range(20):
        assert PhotometricDistortion(0.0)(sample(image), rng).image is image
        PhotometricDistortion(1.0, 1.0)(sample(image), rng)
    assert np.array_equal(image, kept)
    one, two = (PhotometricDistortion(1.0)(sample(image), np.random.default_rng(5)).image for _ in range(2))
    assert np.array_equal(one, two)


def overlap_with_window(window, boxes: np.ndarray) -> np.ndarray:
    start, end = np.maximum(window[:2], boxes[:, :2]), np.minimum(window[2:], boxes[:, 2:])
    intersection = np.prod(np.maximum(end - start, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    return intersection / (np.prod(np.subtract(window[2:], window[:2])) + areas - intersection)


BOXES = [(10, 10, 50, 60), (70, 20, 150, 110), (100, 5, 115, 18)]


@pytest.mark.parametrize("least", [*MIN_OVERLAPS, 0.0])
def test_windows_keep_to_their_constraint(least):
    scene = sample(np.zeros((HEIGHT, WIDTH, 3), np.uint8), [*BOXES, (0, 0, WIDTH, HEIGHT)])
    transform = MinIoURandomCrop(1.0, [least])
    rng, windows = np.random.default_rng(1), []
    transform.constraints = (least,)
    while len(windows) < 200:
        if (window := transform.window(scene, rng)) is not None:
            windows.append(window)
    windows = np.array(windows)
    left, top, right, bottom = windows.T
    assert (left >= 0).all() and (top >= 0).all() and (right <= WIDTH).all() and (bottom <= HEIGHT).all()
    overlaps = np.array([overlap_with_window(window, scene.boxes).max() for window in windows])
    assert (overlaps >= least).all()
    across, down = (right - left) / WIDTH, (bottom - top) / HEIGHT
    assert (np.sqrt(across * down) > 0.29).all() and (across / down > 0.48).all() and (across / down < 2.1).all()


def test_the_distribution_of_windows_without_a_constraint():
    """One object over the whole image, so that every window is taken: size and place are as drawn."""
    scene = sample(
        np.zeros((1200, 1600, 3), np.uint8),
        [(799, 599, 801, 601), *[(x, y, x + 2, y + 2) for x in range(0, 1600, 200) for y in range(0, 1200, 200)]],
    )
    transform, rng = MinIoURandomCrop(1.0, []), np.random.default_rng(0)
    transform.constraints = (0.0,)
    windows = np.array([transform.window(scene, rng) for _ in range(2000)])
    left, top, right, bottom = windows.T
    across, down = (right - left) / 1600, (bottom - top) / 1200
    scale = np.sqrt(across * down)
    assert np.quantile(scale, [0, 0.25, 0.5, 0.75, 1]) == pytest.approx([0.3, 0.475, 0.65, 0.825, 1], abs=0.02)
    free = across < 0.9
    place = left[free] / (1600 - (right - left))[free]
    assert np.quantile(place, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.03)
    small = scale < 0.6  # the aspect is not limited by the image there
    assert np.quantile((across / down)[small], [0, 0.5, 1]) == pytest.approx([0.5, 1.25, 2], abs=0.06)


def test_each_constraint_is_as_likely_as_the_others():
    """An object as large as the image: every constraint can be met, and a window's own IoU shows which it was.

    Tiny objects all over the image see to it that every window has a centre in it.
    """
    tiny = [(x, y, x + 1, y + 1) for x in range(0, WIDTH, 20) for y in range(0, HEIGHT, 20)]
    scene = sample(np.zeros((HEIGHT, WIDTH, 3), np.uint8), [(0, 0, WIDTH, HEIGHT), *tiny])
    transform, rng = MinIoURandomCrop(1.0), np.random.default_rng(0)
    windows = [transform.window(scene, rng) for _ in range(2000)]
    assert np.mean([window is None for window in windows]) == pytest.approx(1 / 7, abs=0.02)
    overlaps = np.array([overlap_with_window(window, scene.boxes)[0] for window in windows if window is not None])
    # Constraint c gives windows of IoU over c; the scale s is uniform on 0.3 to 1 and the IoU is s * s.
    low = np.sqrt(np.maximum([0.0, *MIN_OVERLAPS], 0.09))
    for threshold in (0.2, 0.4, 0.6, 0.8, 0.95):
        expected = np.mean(np.minimum((1 - np.sqrt(threshold)) / (1 - low), 1))
        assert np.mean(overlaps > threshold) == pytest.approx(expected, abs=0.03)


def test_objects_stay_when_their_centre_does():
    image = noise_image(HEIGHT, WIDTH)
    boxes = np.array(BOXES, np.float32)
    transform, rng = MinIoURandomCrop(1.0), np.random.default_rng(0)
    crops = 0
    for _ in range(300):
        before = sample(image, BOXES)
        after = transform(before, rng)
        scale_x, offset_x, scale_y, offset_y = after.mapping
        assert (scale_x, scale_y) == (1.0, 1.0)
        left, top = int(-offset_x), int(-offset_y)
        height, width = after.image.shape[:2]
        assert np.array_equal(after.image, image[top : top + height, left : left + width])
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2 - (left, top)
        inside = ((centers > 0) & (centers < (width, height))).all(axis=1)
        assert after.labels.tolist() == np.flatnonzero(inside).tolist() and inside.any()
        expected = np.clip(boxes[inside] - [left, top, left, top], 0, [width, height, width, height])
        assert np.array_equal(after.boxes, expected)
        crops += (height, width) != image.shape[:2]
    assert crops > 150


def test_images_without_objects_and_crowds_alone_stay_whole():
    image = noise_image(HEIGHT, WIDTH)
    transform, rng = MinIoURandomCrop(1.0), np.random.default_rng(0)
    for scene in (sample(image), sample(image, BOXES[:1], [True])):
        assert all(transform(scene, rng) is scene for _ in range(20))
    assert MinIoURandomCrop(0.0)(sample(image, BOXES), rng).image is image


def test_expansion_is_ssds():
    """Ratio uniform on 1 to 4, half of the images, the object anywhere on the canvas."""
    image = np.full((40, 60, 3), 255, np.uint8)
    transform, rng = RandomExpand(0.5, (10, 20, 30)), np.random.default_rng(0)
    results = [transform(sample(image, [(0, 0, 60, 40)]), rng) for _ in range(1500)]
    larger = [result for result in results if result.image.shape != image.shape]
    assert len(larger) / 1500 == pytest.approx(0.5, abs=0.04)
    ratios = np.array([result.image.shape[1] / 60 for result in larger])
    assert np.quantile(ratios, [0.1, 0.5, 0.9]) == pytest.approx([1.3, 2.5, 3.7], abs=0.1)
    places = np.array([one.boxes[0, 0] / max(one.image.shape[1] - 60, 1) for one in larger])
    assert np.quantile(places, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.05)
    canvas, box = larger[0].image, larger[0].boxes[0].astype(int)
    assert (canvas[box[1] : box[3], box[0] : box[2]] == 255).all()
    assert (canvas == 255).all(axis=2).sum() == 40 * 60 and {
        tuple(c) for c in canvas[~(canvas == 255).all(axis=2)]
    } == {(10, 20, 30)}


def test_boxes_and_masks_follow_through_the_whole_of_it():
    """A white rectangle is its object's mask; after everything the mask lies on the white pixels and fills the box."""
    options = {"photo_ratio": 1.0, "channel_order_ratio": 0.5, "expand_ratio": 0.5, "iou_crop_ratio": 1.0}
    transforms = train_transforms((128, 128), False, 0.5, ratio_range=(1.0, 1.0), fill=(0, 0, 0), **options)
    x1, y1, x2, y2 = 40, 30, 110, 90
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    patch = MaskPatch(np.ones((y2 - y1, x2 - x1), np.uint8), x1, y1)
    seen = 0
    for seed in range(60):
        result = apply_transforms(
            sample(image, [(x1, y1, x2, y2)], masks=[patch]), transforms, np.random.default_rng(seed)
        )
        (box,), white = result.boxes, result.image.max(axis=2) > result.image.max() / 2
        canvas = mask_canvases(result.masks, result.boxes, result.mapping, (128, 128), 128, 1)[0] >= 128
        assert np.mean(canvas != white) < 0.03
        rows, columns = (np.flatnonzero(white.any(axis=axis)) for axis in (1, 0))
        assert box == pytest.approx([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], abs=2.5)
        seen += not np.array_equal(box, [40 * 0.8, 32, 88, 96])
    assert seen > 30


def test_everything_off_is_the_plain_resize():
    assert [type(one).__name__ for one in train_transforms((64, 64), True)] == ["Resize"]
