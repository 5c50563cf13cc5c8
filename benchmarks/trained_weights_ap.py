r"""AP of a trained RefineDet here and in PyTorch: the same weights, everything else written twice.

    python benchmarks/trained_weights_ap.py --torch_python /path/to/a/python/with/torchvision \
        --config_path configs/refinedet/refinedet_r18_bccd_320.yaml --checkpoint_path best.ckpt \
        --val_dataset bccd/annotations/instances_val.json --output_dir trained_weights_ap

eval.py predicts the images of `val_dataset`, and so does a network in PyTorch (peers/torch_refinedet_ap.py), which gets
the checkpoint as a state dict and has its own preparation of images, anchors, decoding, suppression and way back to the
original pixels; thresholds and sizes are those of the configuration. A third result is PyTorch's for the inputs that
this project prepares, to tell what the preparation of images adds to the difference. All results are files in
`output_dir`, and pycocotools evaluates them. Detections agree where the other side has one of the same image and class
within --iou and with a score within --score of it. Exit code 1 when the APs of the first two differ by more than 0.002.
"""

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pycocotools.mask import iou as box_iou

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PEER = ROOT / "benchmarks/peers/torch_refinedet_ap.py"
LIMIT = 0.002
METRICS = {"AP": 0, "AP50": 1, "AP75": 2, "AP small": 3, "AP medium": 4, "AP large": 5, "AR100": 8}


def write_state(checkpoint: Path, target: Path) -> int:
    """Write the weights of a checkpoint by PyTorch's names (.npz); returns how many."""
    from src.weights import load_checkpoint_weights
    from src.weights.convert import pytorch_names

    arrays = pytorch_names(load_checkpoint_weights(checkpoint))
    np.savez(target, **arrays)
    return sum(array.size for array in arrays.values())


def write_inputs(config, dataset, target: Path) -> None:
    """Write the network's inputs of all images as this project prepares them, float32 [images,3,H,W] (.npy)."""
    from src.data.image import load_image
    from src.data.network_input import EvalTransform

    prepare = EvalTransform.from_config(config)
    np.save(target, np.stack([prepare(load_image(record.image))[0] for record in dataset.records]))


def settings_of(config, dataset, threads: int) -> dict:
    """What the peer is told of a configuration and of the images."""
    backbone, neck, head, test = config.backbone, config.neck, config.bbox_head, config.test_cfg
    anchors, (centre_std, _, side_std, _) = head.anchor_generator, head.bbox_coder.target_stds
    if (config.detector, backbone.type) != ("refinedet", "resnet") or backbone.depth > 34 or head.prediction_blocks:
        raise SystemExit("the peer is RefineDet on a ResNet of 18 or 34 layers, without prediction_blocks")
    return {
        "threads": threads,
        "depth": backbone.depth,
        "base_channels": backbone.base_channels,
        "neck_channels": neck.out_channels,
        "neck_bn": neck.with_bn,
        "scales": anchors.scales,
        "ratios": anchors.ratios,
        "strides": anchors.strides,
        "rules": {
            "score_thr": test.score_thr,
            "objectness_thr": head.objectness_thr,
            "iou_thr": test.iou_threshold,
            "nms_pre": test.nms_pre,
            "max_detections": test.max_per_img,
            "variances": [centre_std, side_std],
        },
        "size_hw": [config.img_height, config.img_width],
        "frame_hw": list(config.input_hw),
        "keep_ratio": bool(config.keep_ratio),
        "mean": list(config.img_mean),
        "std": list(config.img_std),
        "category_ids": dataset.category_ids,
        "images": [(record.image_id, str(record.image)) for record in dataset.records],
    }


def evaluated(annotations: Path, results: list[dict]) -> np.ndarray:
    """COCO's numbers of results, by pycocotools."""
    truth = COCO(str(annotations))
    evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def by_image_and_class(results: list[dict], least_score: float) -> dict:
    groups = defaultdict(list)
    for found in results:
        if found["score"] >= least_score:
            groups[found["image_id"], found["category_id"]].append(found)
    return groups


def agreement(ours: list[dict], theirs: list[dict], arguments: argparse.Namespace) -> dict[int, tuple[int, int]]:
    """{image: (detections of theirs of at least --least_score that ours have too, all of these)}."""
    candidates = by_image_and_class(ours, arguments.least_score - arguments.score)
    counts: dict[int, tuple[int, int]] = {}
    for (image, category), wanted in by_image_and_class(theirs, arguments.least_score).items():
        found = candidates.get((image, category), [])
        matched = 0
        if found:
            overlaps = box_iou([w["bbox"] for w in wanted], [f["bbox"] for f in found], [0] * len(found))
            near = np.abs(np.subtract.outer([w["score"] for w in wanted], [f["score"] for f in found]))
            matched = int(((overlaps >= arguments.iou) & (near <= arguments.score)).any(axis=1).sum())
        before = counts.get(image, (0, 0))
        counts[image] = before[0] + matched, before[1] + len(wanted)
    return counts


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], cwd=ROOT, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{command[1]} ended with exit code {done.returncode}")


def predict(arguments: argparse.Namespace, config) -> list[list[dict]]:
    """Our results, PyTorch's, and PyTorch's of our inputs."""
    from src.data.builders import build_eval_loader

    folder = arguments.output_dir.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    ours, *theirs = (folder / name for name in ("ours.json", "pytorch.json", "pytorch_same_inputs.json"))
    settings, weights, inputs = (folder / name for name in ("settings.json", "weights.npz", "inputs.npy"))
    ours.unlink(missing_ok=True)  # eval.py would evaluate it instead of predicting
    checkpoint = arguments.checkpoint_path.resolve()
    source = ("--config_path", arguments.config_path.resolve(), "--checkpoint_path", checkpoint)
    data = ("--val_dataset", arguments.val_dataset.resolve(), "--device_target", "CPU")
    run(sys.executable, ROOT / "eval.py", *source, *data, "--prediction_path", ours)
    dataset = build_eval_loader(config).dataset
    settings.write_text(json.dumps(settings_of(config, dataset, arguments.threads)), encoding="utf-8")
    write_inputs(config, dataset, inputs)
    print(f"{write_state(checkpoint, weights) / 1e6:.3f} M values in {weights}")
    run(arguments.torch_python, PEER, settings, weights, inputs, *theirs)
    return [json.loads(path.read_text(encoding="utf-8")) for path in (ours, *theirs)]


def report(title: str, ours: np.ndarray, theirs: np.ndarray, counts: list[tuple[int, int]], least_score: float) -> None:
    """Both sides' numbers, and how many detections agree (`agreement`'s counts)."""
    print(f"\n{title:<24}{'MindSpore':>12}{'PyTorch':>12}{'difference':>14}")
    for name, place in METRICS.items():
        a, b = ours[place], theirs[place]
        print(f"{name:<24}{a:>12.6f}{b:>12.6f}{a - b:>+14.6f}")
    matched, total = np.sum(counts, axis=0)
    shares = np.array([found / all_of_them for found, all_of_them in counts])
    print(
        f"of PyTorch's {total} detections with a score of at least {least_score:g}, {matched} agree"
        f" ({100 * matched / total:.2f} %); per image {100 * shares.min():.1f} to 100 %, in {np.sum(shares == 1)} of"
        f" {len(shares)} images all"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", required=True, help="a Python that has torch and torchvision")
    parser.add_argument("--config_path", type=Path, default=ROOT / "configs/refinedet/refinedet_r18_bccd_320.yaml")
    parser.add_argument("--checkpoint_path", type=Path, required=True, help="of a training with this configuration")
    parser.add_argument("--val_dataset", type=Path, required=True, help="COCO annotations")
    parser.add_argument("--output_dir", type=Path, required=True, help="weights and results of both sides")
    parser.add_argument("--threads", type=int, default=2, help="cores that PyTorch may use (2)")
    parser.add_argument("--least_score", type=float, default=0.05, help="agreement: of what detections (0.05)")
    parser.add_argument("--iou", type=float, default=0.95, help="agreement: least IoU (0.95)")
    parser.add_argument("--score", type=float, default=0.02, help="agreement: largest difference of scores (0.02)")
    arguments = parser.parse_args()
    from src.config import load_config

    overrides = {"val_dataset": str(arguments.val_dataset), "device_target": "CPU"}
    ours, *theirs = predict(arguments, load_config(arguments.config_path, overrides))
    our_stats, *their_stats = (evaluated(arguments.val_dataset, results) for results in (ours, *theirs))
    for title, results, stats in zip(("own inputs", "the same inputs"), theirs, their_stats, strict=True):
        counts = list(agreement(ours, results, arguments).values())
        report(title, our_stats, stats, counts, arguments.least_score)
    return 0 if abs(our_stats[0] - their_stats[0][0]) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
