"""The detectors of run_all.sh, and how their steps are timed. NumPy only, for either side's Python."""

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
ROUNDS = 20


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
