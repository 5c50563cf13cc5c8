"""The detectors of run_all.sh, and how their steps are timed. NumPy only, for either side's Python."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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
    """Print the seconds and the loss of the first step, and the median of the others, as a line of JSON after '@'.

    Where TURNS names a file, several processes may compile at the same time, but none while another is timed.
    """
    with _turn(fcntl.LOCK_SH):
        start = perf_counter()
        loss = step()
        first = perf_counter() - start
    seconds = []
    with _turn(fcntl.LOCK_EX):
        for _ in range(rounds):
            start = perf_counter()
            step()
            seconds.append(perf_counter() - start)
    report(first_s=round(first, 3), step_s=round(float(np.median(seconds)), 5), loss=loss)


@contextmanager
def _turn(kind: int) -> Iterator[None]:
    """Hold the lock on the file that TURNS names, if it names one."""
    if "TURNS" not in os.environ:
        yield
        return
    with Path(os.environ["TURNS"]).open("a", encoding="utf-8") as file:
        fcntl.flock(file, kind)
        yield


def report(**values: object) -> None:
    """Print what a step found, for summary.py."""
    print("@" + json.dumps(values), flush=True)
