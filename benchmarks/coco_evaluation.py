"""COCO box evaluation: this project's evaluator against pycocotools and faster-coco-eval, on the same detections.

faster-coco-eval is no requirement of the project: `pip install faster-coco-eval==1.8.0` adds it to the comparison.

    python benchmarks/coco_evaluation.py                        # synthetic: 5,000 images, 500,000 detections
    python benchmarks/coco_evaluation.py --images 500 --detections 50000
    python benchmarks/coco_evaluation.py --annotations instances_val2017.json --results results.json

Prints for each evaluator the time of loading the results and of evaluating them, the ratio to pycocotools, and the
largest difference of the 12 numbers and of the AP of a class. Exit code 1 when a number differs by more than 1e-9.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.evaluation.coco_evaluator import CocoEvaluator


def synthetic(images: int, detections: int, classes: int = 80, seed: int = 0) -> tuple[dict, list[dict]]:
    """Annotations like COCO's (7 objects an image, 1 % crowds), and half of the detections near an object."""
    rng = np.random.default_rng(seed)
    objects = images * 73 // 10
    size = np.exp(rng.normal(4.0, 1.0, (objects, 2))).clip(4, 400)
    boxes = np.concatenate([rng.uniform(0, 1, (objects, 2)) * (640 - size), size], 1)
    image = rng.integers(1, images + 1, objects)
    label = np.minimum(rng.geometric(0.06, objects), classes)  # few classes have most objects, as in COCO
    crowd = rng.random(objects) < 0.01
    annotations = [
        {
            "id": i + 1,
            "image_id": int(image[i]),
            "category_id": int(label[i]),
            "bbox": boxes[i].tolist(),
            "area": float(size[i].prod() * 0.7),
            "iscrowd": int(crowd[i]),
        }
        for i in range(objects)
    ]
    near = rng.integers(0, objects, detections // 2)
    far = detections - len(near)
    far_boxes = np.concatenate([rng.uniform(0, 500, (far, 2)), np.exp(rng.normal(4, 1, (far, 2))).clip(2, 400)], 1)
    moved = boxes[near] + rng.normal(0, 0.15, (len(near), 4)) * size[near][:, [0, 1, 0, 1]]
    moved[:, 2:] = np.abs(moved[:, 2:]) + 1
    found_image = np.concatenate([image[near], rng.integers(1, images + 1, far)])
    found_label = np.concatenate([label[near], rng.integers(1, classes + 1, far)])
    score = np.concatenate([rng.beta(2, 2, len(near)), rng.beta(1, 3, far)]).round(5)  # rounding makes some ties
    rows = zip(
        found_image.tolist(),
        found_label.tolist(),
        np.concatenate([moved, far_boxes]).tolist(),
        score.tolist(),
        strict=True,
    )
    results = [{"image_id": i, "category_id": c, "bbox": b, "score": s} for i, c, b, s in rows]
    dataset = {
        "images": [{"id": i + 1, "height": 640, "width": 640} for i in range(images)],
        "annotations": annotations,
        "categories": [{"id": k + 1, "name": f"class {k}"} for k in range(classes)],
    }
    return dataset, results


def run_ours(dataset: dict, results: list[dict]) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Seconds of loading and of evaluating, the 12 numbers, AP of each class."""
    categories = sorted(dataset["categories"], key=lambda category: category["id"])
    evaluator = CocoEvaluator(dataset, [c["name"] for c in categories], [c["id"] for c in categories])
    start = time.perf_counter()
    evaluator.add_results(results)
    loaded = time.perf_counter()
    metrics = evaluator.compute_metrics()
    done = time.perf_counter()
    stats, by_class = list(metrics.stats.values()), list(metrics.per_class.values())
    return loaded - start, done - loaded, np.array(stats), np.array(by_class)


def run_peer(name: str, dataset: dict, results: list[dict]) -> tuple[float, float, np.ndarray, np.ndarray]:
    """The same with the package `name`."""
    if name == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    else:
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        # Both packages write into the dicts that they are given.
        results = [dict(result) for result in results]
        start = time.perf_counter()
        found = truth.loadRes(results)
        loaded = time.perf_counter()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        done = time.perf_counter()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    by_class = [precision[:, :, k][precision[:, :, k] > -1] for k in range(precision.shape[2])]
    means = np.array([values.mean() if len(values) else -1.0 for values in by_class])
    return loaded - start, done - loaded, np.asarray(evaluation.stats[:12]), means


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--annotations", help="a COCO annotation file, instead of synthetic data")
    parser.add_argument("--results", help="a COCO results file")
    args = parser.parse_args()
    if args.annotations:
        dataset, results = (json.loads(Path(p).read_text()) for p in (args.annotations, args.results))
    else:
        dataset, results = synthetic(args.images, args.detections)
    print(f"{len(dataset['images'])} images, {len(dataset['annotations'])} objects, {len(results)} detections")
    runs = {"this project": run_ours(dataset, results)}
    peers = ["faster-coco-eval"] if importlib.util.find_spec("faster_coco_eval") else []
    for name in (*peers, "pycocotools"):
        runs[name] = run_peer(name, dataset, results)
    peer = runs["pycocotools"]
    titles = ("load s", 8), ("evaluate s", 12), ("total s", 9), ("x faster", 10), ("x total", 9), ("diff of 12", 12)
    print(" " * 18 + "".join(f"{title:>{width}}" for title, width in (*titles, ("of classes", 12))))
    worst = 0.0
    for name, (load, evaluate, stats, by_class) in runs.items():
        differences = np.abs(stats - peer[2]).max(), np.abs(by_class - peer[3]).max()
        if name == "this project":
            worst = max(differences)
        print(
            f"{name:18}{load:8.2f}{evaluate:12.2f}{load + evaluate:9.2f}{peer[1] / evaluate:10.1f}"
            f"{(peer[0] + peer[1]) / (load + evaluate):9.1f}{differences[0]:12.1e}{differences[1]:12.1e}"
        )
    print(f"AP {runs['this project'][2][0]:.4f}")
    return int(worst > 1e-9)


if __name__ == "__main__":
    sys.exit(main())
