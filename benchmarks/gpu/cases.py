"""The detectors of run_all.sh, and the batches of their steps. NumPy only, for either side's Python."""

import json
from collections.abc import Callable
from time import perf_counter

import numpy as np

# Configuration, and side of the images, of each detector.
DETECTORS = {
    "spinenet": ("spinenet_retinanet/retinanet_spinenet_49_640.yaml", 640),
    "nas_fpn": ("nas_fpn/retinanet_r50_nasfpn_640.yaml", 640),
    "mask_rcnn": ("instaboost/mask_rcnn_r50_fpn.yaml", 800),
    "cascade_mask_rcnn": ("instaboost/cascade_mask_rcnn_r50_fpn.yaml", 800),
    "refinedet": ("refinedet/refinedet_vgg16_320.yaml", 320),
}
OBJECTS = 8  # an image; COCO has 7.3
NUM_GTS = 100
CLASSES = 80
ROUNDS = 20


def make_batch(size: int, batch: int) -> dict[str, np.ndarray]:
    """A batch of noise with random objects, as the loader would make it; labels 0 to 79."""
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 0.6 * size, (batch, OBJECTS, 2))
    side = np.exp(rng.uniform(np.log(16), np.log(0.4 * size), (batch, OBJECTS, 2)))
    boxes = np.zeros((batch, NUM_GTS, 4), np.float32)
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


def time_steps(step: Callable[[], float], rounds: int = ROUNDS) -> None:
    """Print the seconds of the first step, the median of the others and the last loss as a line of JSON after '@'."""
    start = perf_counter()
    loss = step()
    first = perf_counter() - start
    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        loss = step()
        seconds.append(perf_counter() - start)
    report(first_s=round(first, 3), step_s=round(float(np.median(seconds)), 5), loss=round(loss, 5))


def report(**values: object) -> None:
    """Print what a step found, for summary.py."""
    print("@" + json.dumps(values), flush=True)
