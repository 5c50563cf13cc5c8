"""Runs the package instaboostfast for instaboost.py: one job a line in, one JSON a line out after '@'."""

import json
import random
import sys
import time
from types import SimpleNamespace

import cv2
import instaboostfast
import numpy as np
from instaboostfast import pycococreater


def allow_unequal_contours() -> None:
    """Numpy >= 1.24 refuses np.subtract of contours of unequal length; an array of objects it takes."""
    measure = pycococreater.measure

    def find_contours(*args):
        contours = measure.find_contours(*args)
        array = np.empty(len(contours), object)
        array[:] = contours
        return array

    pycococreater.measure = SimpleNamespace(
        find_contours=find_contours, approximate_polygon=measure.approximate_polygon
    )


def main() -> None:
    cv2.setNumThreads(1)
    allow_unequal_contours()
    for line in sys.stdin:
        job = json.loads(line)
        random.seed(job["seed"])
        np.random.seed(job["seed"])
        config = instaboostfast.InstaBoostConfig(heatmap_flag=job["heatmap"])
        image = cv2.imread(job["image"])
        start = time.perf_counter()
        try:
            annotations, _ = instaboostfast.get_new_data(job["annotations"], image, config, background=None)
            answer = {"seconds": time.perf_counter() - start, "objects": len(annotations)}
        except (ValueError, TypeError, AssertionError, IndexError, cv2.error) as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:200]}
        print("@" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
