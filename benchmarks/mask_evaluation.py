"""Pasting masks and encoding them for COCO, on one core: this project against plain implementations in the same run.

    python benchmarks/mask_evaluation.py
    python benchmarks/mask_evaluation.py --torch_python /path/to/a/python/with/torch/and/pycocotools

Each image has 100 detections of COCO's sizes at 640 x 480. The peers work mask by mask: OpenCV resizes the mask to its
box in a bitmap of the image; grid_sample as mmdetection and torchvision's paste_masks_in_image (peers/torch_masks.py,
with --torch_python); pycocotools encodes. Prints images/s, the ratio to ours and how the peers' masks agree with ours.
All take turns. Exit code 1 when ours differ from grid_sample's in more than 0.2 % of the pixels of the masks, or when
fewer than 40 images/s are pasted and encoded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # NumPy reads it when it is imported

import cv2
import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.evaluation.masks import encode_masks

HEIGHT, WIDTH, DETECTIONS, THRESHOLD = 480, 640, 100, 0.5
FLOOR = 40.0  # images/s


def make_images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 [count, 100, 28, 28] of blobs with soft, uneven edges; boxes float32 [count, 100, 4]."""
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.normal(4.2, 0.9, (count, DETECTIONS, 2))).clip(6, (WIDTH, HEIGHT))
    corner = rng.uniform(0, 1, sides.shape) * ((WIDTH, HEIGHT) - sides)
    boxes = np.concatenate([corner, corner + sides], axis=-1).astype(np.float32)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    angle, radius = np.arctan2(y, x), np.hypot(x, y)
    lobes, phase = rng.integers(2, 7, (2, count, DETECTIONS, 1, 1))
    edge = 0.75 + 0.2 * np.sin(lobes * angle + phase)
    return (1 / (1 + np.exp(12 * (radius - edge)))).astype(np.float32), boxes


def ours(probabilities: np.ndarray, boxes: np.ndarray) -> list[dict]:
    return encode_masks(probabilities, boxes, HEIGHT, WIDTH, THRESHOLD)


def plain(probabilities: np.ndarray, boxes: np.ndarray) -> list[dict]:
    """Box corners rounded to pixels, one bitmap of the image a mask."""
    codes = []
    for mask, (x1, y1, x2, y2) in zip(probabilities, np.round(boxes).astype(int), strict=True):
        width, height = max(x2 - x1, 1), max(y2 - y1, 1)
        bitmap = np.zeros((HEIGHT, WIDTH), np.uint8)
        resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR) >= THRESHOLD
        bitmap[y1 : y1 + height, x1 : x1 + width] = resized[: HEIGHT - y1, : WIDTH - x1]
        codes.append(coco_mask.encode(np.asfortranarray(bitmap)))
    return codes


def seconds_of(paste, probabilities: np.ndarray, boxes: np.ndarray) -> float:
    start = time.perf_counter()
    for image in range(len(boxes)):
        paste(probabilities[image], boxes[image])
    return time.perf_counter() - start


class TorchPeer:
    """The other process: asked by name, it pastes and encodes all images and answers with its seconds."""

    def __init__(self, python: str, inputs: Path) -> None:
        worker = Path(__file__).parent / "peers" / "torch_masks.py"
        command = [python, str(worker), str(inputs), str(HEIGHT), str(WIDTH), str(THRESHOLD)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words: object) -> float:
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("the peer ended; its message is above")
        return float(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def disagreement(codes: list[dict], others: list[dict]) -> float:
    """Pixels that differ, as a share of the pixels of the masks `others`."""
    a, b = (coco_mask.decode(list(part)) for part in (codes, others))
    return float((a != b).sum() / max(b.sum(), 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", help="a Python that has torch, torchvision, numpy and pycocotools")
    parser.add_argument("--images", type=int, default=8, help="images a round (8)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # the peer inherits it
    cv2.setNumThreads(1)
    probabilities, boxes = make_images(arguments.images)
    names = {"this project": ours, "cv2.resize": plain}
    with tempfile.TemporaryDirectory() as folder:
        inputs, output = Path(folder) / "inputs.npz", Path(folder) / "codes.npz"
        np.savez(inputs, probabilities=probabilities, boxes=boxes)
        measure = {name: lambda paste=paste: seconds_of(paste, probabilities, boxes) for name, paste in names.items()}
        codes = {name: paste(probabilities[0], boxes[0]) for name, paste in names.items()}
        peer = TorchPeer(arguments.torch_python, inputs) if arguments.torch_python else None
        for name in ("grid_sample", "torchvision") if peer else ():
            peer.ask(name, output)
            with np.load(output) as saved:
                codes[name] = [{"size": [HEIGHT, WIDTH], "counts": counts} for counts in saved["counts"].tolist()]
            measure[name] = lambda name=name: peer.ask(name)
        times = {name: [] for name in measure}
        for _ in range(arguments.rounds):
            for name, run in measure.items():
                times[name].append(run())
        if peer:
            peer.close()
    rate = {name: arguments.images / float(np.median(spent)) for name, spent in times.items()}
    print(f"{arguments.images} images a round, {DETECTIONS} detections each, {WIDTH} x {HEIGHT}, one core")
    print(f"{'':<14}{'images/s':>10}{'ours / it':>11}{'pixels that differ from ours':>30}")
    differences = {name: disagreement(codes["this project"], codes[name]) for name in codes}
    for name, value in rate.items():
        print(f"{name:<14}{value:>10.1f}{rate['this project'] / value:>11.1f}{differences[name]:>29.3%}")
    return int(rate["this project"] < FLOOR or differences.get("grid_sample", 0.0) > 0.002)


if __name__ == "__main__":
    sys.exit(main())
