"""A batch of noise with random objects, as the loader would make it. NumPy only, for either side's Python."""

import numpy as np

OBJECTS = 8  # an image; COCO has 7.3
NUM_GTS = 100
CLASSES = 80


def make_batch(size: int, batch: int) -> dict[str, np.ndarray]:
    """Square images of `size` pixels; labels 0 to 79."""
    rng = np.random.default_rng(1)
    boxes = np.zeros((batch, NUM_GTS, 4), np.float32)
    corner = rng.uniform(0, 0.6 * size, (batch, OBJECTS, 2))
    side = np.exp(rng.uniform(np.log(16), np.log(0.4 * size), (batch, OBJECTS, 2)))
    boxes[:, :OBJECTS] = np.concatenate([corner, corner + side], 2)
    labels = np.zeros((batch, NUM_GTS), np.int32)
    labels[:, :OBJECTS] = rng.integers(0, CLASSES, (batch, OBJECTS))
    return {
        "image": rng.standard_normal((batch, 3, size, size), np.float32),
        "image_info": np.tile(np.float32([size, size, size, size, 1, 1]), (batch, 1)),
        "boxes": boxes,
        "labels": labels,
        "valid": np.arange(NUM_GTS)[None].repeat(batch, 0) < OBJECTS,
    }
