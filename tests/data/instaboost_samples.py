"""Samples with known objects for the tests of InstaBoost."""

import numpy as np

from src.data.masks import MaskPatch, tight_patch
from src.data.sample import Sample
from tests.data.coco_files import noise_image


def rectangle(x1: int, y1: int, x2: int, y2: int) -> MaskPatch:
    return MaskPatch(np.ones((y2 - y1, x2 - x1), np.uint8), x1, y1)


def sample_of(image: np.ndarray, masks: list[MaskPatch], crowd: list[bool] | None = None) -> Sample:
    """A sample whose boxes are the masks' extents and whose labels count up."""
    return Sample(
        image=image,
        original_hw=image.shape[:2],
        boxes=np.array([mask.box for mask in masks], np.float32).reshape(-1, 4),
        labels=np.arange(len(masks), dtype=np.int32),
        crowd=np.zeros(len(masks), bool) if crowd is None else np.array(crowd),
        masks=masks,
    )


def scene(boxes: list[tuple[int, int, int, int]], height: int, width: int) -> Sample:
    """A smooth image with a bright rectangle for each box."""
    image = noise_image(height, width) // 2
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = 255
    return sample_of(image, [rectangle(*box) for box in boxes])


def random_scene(seed: int) -> Sample:
    """A hard case: up to 12 blobs, thin, tiny, nested, at borders or as large as the image, some of them crowds."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(3, 90, 2)
    masks = []
    for _ in range(rng.integers(0, 13)):
        most = rng.choice([1, 4, 20, 100])
        h, w = min(rng.integers(1, most + 1), height), min(rng.integers(1, most + 1), width)
        y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
        pixels = (rng.random((h, w)) < rng.choice([0.1, 0.6, 1.0])).astype(np.uint8)
        pixels[rng.integers(h), rng.integers(w)] = 1
        masks.append(tight_patch(pixels, int(x), int(y)))
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    sample = sample_of(image, masks, [bool(rng.random() < 0.04) for _ in masks])
    for index in range(len(masks)):
        if rng.random() < 0.02:
            sample.boxes[index] = (0, 0, width, height)
    return sample
