"""InstaBoost: the native transform against the package instaboostfast, images a second on one core each.

    python benchmarks/instaboost.py --data /data/coco-2017
    python benchmarks/instaboost.py --data /data/coco-2017 --heatmap --peer_python /venvs/instaboostfast/bin/python

Both get the same decoded images and the COCO segmentations of all their instances (crowds left out), and are timed from
there to the new image, boxes and masks, with the seed's settings and every image augmented. The peer runs in a process
of its own, image by image in turn; without --peer_python only the native one is timed. Images on which the peer fails
count for neither. The last line is JSON.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.program import run_command
from src.data.formats.coco_files import find_annotation_file, find_images_dir
from src.data.image import load_image
from src.data.instaboost import InstaBoost
from src.data.masks import decode_mask
from src.data.sample import Sample

WORKER = Path(__file__).parent / "peers" / "instaboostfast_worker.py"


def read_jobs(data: str, split: str, most: int) -> list[dict]:
    """Images with objects: path, size and annotations without crowds."""
    annotation_file = find_annotation_file(data, split)
    content = json.loads(annotation_file.read_text())
    annotations = defaultdict(list)
    for annotation in content["annotations"]:
        if not annotation.get("iscrowd"):
            annotations[annotation["image_id"]].append(annotation)
    images = [image for image in content["images"] if annotations[image["id"]]]
    folder = find_images_dir(annotation_file, (image["file_name"] for image in images))
    images = [image for image in images if (folder / image["file_name"]).exists()]
    random.Random(0).shuffle(images)
    return [
        {"image": str(folder / image["file_name"]), "annotations": annotations[image["id"]]}
        for image in images[: most or None]
    ]


def time_native(transform: InstaBoost, job: dict, seed: int) -> float:
    """Seconds for one image, its masks decoded within them as the peer does."""
    image = load_image(job["image"])
    annotations = job["annotations"]
    xywh = np.array([annotation["bbox"] for annotation in annotations], np.float32)
    sample = Sample(
        image=image,
        original_hw=image.shape[:2],
        boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        labels=np.zeros(len(xywh), np.int32),
        crowd=np.zeros(len(xywh), bool),
    )
    rng = np.random.default_rng(seed)
    start = time.perf_counter()
    sample.masks = [decode_mask(annotation["segmentation"], *image.shape[:2]) for annotation in annotations]
    transform(sample, rng)
    return time.perf_counter() - start


class Peer:
    """The worker process."""

    def __init__(self, python: str):
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, job: dict, seed: int, heatmap: bool) -> dict:
        self.process.stdin.write(json.dumps({**job, "seed": seed, "heatmap": heatmap}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise SystemExit("the peer stopped; is instaboostfast installed for --peer_python?")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a COCO data set")
    parser.add_argument("--split", default="train", choices=["train", "val"])
    parser.add_argument("--images", type=int, default=0, help="so many images, drawn at random; 0: all")
    parser.add_argument("--heatmap", action="store_true", help="with the appearance-consistency map")
    parser.add_argument("--blend", action="store_true", help="the native one pastes with a blended edge")
    parser.add_argument("--peer_python", help="interpreter of an environment with instaboostfast")
    args = parser.parse_args()

    cv2.setNumThreads(1)
    jobs = read_jobs(args.data, args.split, args.images)
    transform = InstaBoost(aug_prob=1.0, heatmap_flag=args.heatmap, hard_edge=not args.blend)
    peer = Peer(args.peer_python) if args.peer_python else None
    time_native(transform, jobs[0], 0)
    native_seconds, peer_seconds, failed = [], [], []
    for seed, job in enumerate(jobs):
        answer = peer.run(job, seed, args.heatmap) if peer else {}
        if "failed" in answer:
            failed.append(f"{job['image']}: {answer['failed']}")
            continue
        native_seconds.append(time_native(transform, job, seed))
        if peer:
            peer_seconds.append(answer["seconds"])
    if peer:
        peer.close()
    result = {
        "images": len(native_seconds),
        "objects": sum(len(job["annotations"]) for job in jobs),
        "native_images_per_s": round(len(native_seconds) / sum(native_seconds), 2),
        "native_ms_median": round(1000 * float(np.median(native_seconds)), 2),
        "native_ms_max": round(1000 * max(native_seconds), 2),
    }
    if peer_seconds:
        result |= {
            "peer_images_per_s": round(len(peer_seconds) / sum(peer_seconds), 2),
            "peer_ms_median": round(1000 * float(np.median(peer_seconds)), 2),
            "peer_ms_max": round(1000 * max(peer_seconds), 2),
            "peer_failed": len(failed),
            "ratio": round(sum(peer_seconds) / sum(native_seconds), 1),
        }
    for line in failed:
        print(line)
    print(json.dumps(result))


if __name__ == "__main__":
    run_command(main)
