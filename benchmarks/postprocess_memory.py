"""Memory and time of postprocess.py on the result files of a whole data set, at the size of the NAS-FPN RetinaNet.

    python benchmarks/postprocess_memory.py --folder /tmp/results                # 5,000 images of 26 MB each
    python benchmarks/postprocess_memory.py --folder /tmp/results --images 500

Some result files are made up (76,725 boxes, 80 classes, about --candidates scores over 0.05) and linked under all other
names, so that 5,000 images take little of the disk; they are then read from memory, which a disk does not do so fast.
The peer keeps the raw outputs of all images until the end; it reads --peer_images, and its memory grows with them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.checksum import sha256_of
from src.deploy.export_card import ExportCard, Port, Preprocessing
from src.deploy.result_files import result_paths, write_results

ROOT = Path(__file__).resolve().parents[1]
SIDE, STRIDES, ANCHORS, CLASSES = 640, (8, 16, 32, 64, 128), 9, 80
LEVELS = [(SIDE // stride) ** 2 * ANCHORS for stride in STRIDES]
DISTINCT = 8  # images with files of their own
NAMES = [f"class {k}" for k in range(CLASSES)]

PEER = """
import resource, sys
import numpy as np
folder, count = sys.argv[1], int(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = [[np.fromfile(f"{folder}/{i:012d}_{k}.bin", np.float32) for k in (0, 1)] for i in range(count)]
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 / count)
"""


def raw_outputs(candidates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [N, 4] around a grid of each level and scores [N, K], high ones near a few objects."""
    rng = np.random.default_rng(seed)
    boxes = []
    for stride in STRIDES:
        y, x = (np.mgrid[: SIDE // stride, : SIDE // stride] + 0.5) * stride
        centers = np.repeat(np.stack([x, y], 2).reshape(-1, 2), ANCHORS, axis=0)
        sizes = 4 * stride * np.exp(rng.normal(0, 0.3, centers.shape))
        boxes.append(np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=1))
    boxes = np.concatenate(boxes).astype(np.float32)
    scores = rng.random((len(boxes), CLASSES), np.float32) * np.float32(0.04)
    for center in rng.uniform(60, SIDE - 60, (10, 2)):
        distance = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - center).sum(axis=1)
        near = np.argsort(distance)[: candidates // 10]
        scores[near, rng.integers(CLASSES)] = rng.uniform(0.05, 0.9, len(near))
    return boxes, scores


def write_files(folder: Path, images: int, candidates: int) -> None:
    """Result files, images (empty files), annotations and the card of a network."""
    results, pictures = folder / "result_Files", folder / "val"
    pictures.mkdir(parents=True)
    for i in range(min(DISTINCT, images)):
        write_results(results, f"{i:012d}.jpg", raw_outputs(candidates, i))
    for i in range(images):
        (pictures / f"{i:012d}.jpg").touch()
        if i >= DISTINCT:
            for new, old in zip(
                result_paths(results, f"{i:012d}.jpg"), result_paths(results, f"{i % DISTINCT:012d}.jpg"), strict=True
            ):
                os.link(old, new)
    rng = np.random.default_rng(1)
    listed = [{"id": i + 1, "file_name": f"{i:012d}.jpg", "height": 480, "width": 640} for i in range(images)]
    objects = [
        {"id": k + 1, "image_id": k // 7 + 1, "category_id": int(rng.integers(CLASSES)) + 1, "iscrowd": 0}
        | {"bbox": [*rng.uniform(0, 400, 2).tolist(), 60.0, 60.0], "area": 3600.0}
        for k in range(7 * images)
    ]
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(NAMES)]
    content = {"images": listed, "annotations": objects, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    write_card(folder / "network.mindir")


def write_card(network: Path) -> None:
    network.write_bytes(b"stands for a network")
    anchors = sum(LEVELS)
    ExportCard(
        format="MINDIR",
        form="raw",
        detector="retinanet",
        inputs=[Port(name="image", shape=[1, 3, SIDE, SIDE])],
        outputs=[Port(name="boxes", shape=[1, anchors, 4]), Port(name="scores", shape=[1, anchors, CLASSES])],
        preprocessing=Preprocessing(
            img_height=SIDE,
            img_width=SIDE,
            input_height=SIDE,
            input_width=SIDE,
            keep_ratio=True,
            to_rgb=True,
            img_mean=[0, 0, 0],
            img_std=[1, 1, 1],
        ),
        class_names=NAMES,
        category_ids=[],
        selection={
            "kind": "levels",
            "level_sizes": LEVELS,
            "score_thr": 0.05,
            "nms_pre": 1000,
            "iou_threshold": 0.5,
            "max_per_img": 100,
            "min_bbox_size": 0.0,
        },
        mask_threshold=None,
        checkpoint="none",
        checkpoint_sha256="",
        sha256=sha256_of(network),
    ).save(network)


def main() -> int:
    """Exit code 1 when postprocess.py takes 2 GB or more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True, help="new folder for the files")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--candidates", type=int, default=2000, help="scores over the threshold, an image")
    parser.add_argument("--peer_images", type=int, default=50)
    args = parser.parse_args()
    folder = Path(args.folder)
    write_files(folder, args.images, args.candidates)

    start = time.perf_counter()
    subprocess.run(
        [sys.executable, ROOT / "postprocess.py", "--mindir_path", folder / "network.mindir"]
        + ["--result_path", folder / "result_Files", "--anno_path", folder / "annotations.json"]
        + ["--img_path", folder / "val", "--prediction_path", folder / "predictions.json"],
        check=True,
    )
    seconds = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    megabytes, cpu = usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime
    count = min(args.peer_images, args.images)
    command = [sys.executable, "-c", PEER, folder / "result_Files", str(count)]
    an_image = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    kept = an_image * args.images
    print(f"\n{args.images} images: {seconds:.0f} s ({1000 * seconds / args.images:.1f} ms an image), {cpu:.0f} CPU-s")
    print(
        f"peak memory {megabytes:.0f} MB; keeping every raw output would take {an_image:.1f} MB an image, {kept:.0f} MB"
    )
    print(f"ratio {megabytes / kept:.4f}")
    return int(megabytes >= 2048)


if __name__ == "__main__":
    sys.exit(main())
