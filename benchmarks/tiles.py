r"""Small objects in large pictures: the whole picture resized to the network's input, against tiles, for one detector.

    python benchmarks/tiles.py --checkpoint_path outputs/first/checkpoints/best.ckpt --tile 256 --output_dir OUT

Draws pictures of 2,048 pixels with 80 to 90 objects of 30 to 100 pixels (those of the synthetic data that the demos
train on), writes them as a COCO data set, and evaluates each way with eval.py's own code: AP, AP50, AP75, AR100 and
seconds per picture.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402  after the path
import numpy as np  # noqa: E402

from src.data.synthetic_scene import SceneOptions, random_scene  # noqa: E402

SIDE, PATCH = 2048, 256


def draw(folder: Path, count: int, classes: int, seed: int) -> Path:
    """Pictures put together of scenes, each row of them shifted; returns labels.json."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = SceneOptions(
        PATCH, PATCH, classes, min_object=30, max_object=100, max_objects=2, empty_share=0.1, crowd_share=0
    )
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(count):
        name = f"{number:03d}.jpg"
        picture, boxes = draw_picture(scene, rng)
        cv2.imwrite(str(folder / name), picture[..., ::-1])
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for label, box in boxes:
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "bbox": box, "iscrowd": 0}
            annotations.append({**row, "area": float(box[2] * box[3])})
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(scene.class_names)]
    labels = folder / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return labels


def draw_picture(scene: SceneOptions, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, list[int]]]]:
    """Pixels uint8 [SIDE, SIDE, 3], and (label, [x, y, width, height]) of the objects in it."""
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    found = []
    for top in range(0, SIDE, PATCH):
        for left in range(-int(rng.integers(0, PATCH)), SIDE, PATCH):
            first, last = max(left, 0), min(left + PATCH, SIDE)
            seen = slice(first - left, last - left)
            image, objects = random_scene(scene, rng)
            picture[top : top + PATCH, first:last] = image[:, seen]
            for one in objects:
                rows, columns = np.nonzero(one.mask[:, seen])
                if len(rows) > 0.6 * one.mask.sum():
                    corner = [int(columns.min()) + first, int(rows.min()) + top]
                    found.append((one.label, [*corner, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]))
    return picture, found


def main() -> None:
    """Draw, evaluate each way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint_path", required=True)
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--overlap", type=float, default=0.3)
    parser.add_argument("--ways", nargs="+", help="only these rows of the table")
    arguments = parser.parse_args()

    from src.commands.evaluate import evaluate_checkpoint
    from src.predictor.saved_config import config_of_checkpoint

    base = {"checkpoint_path": arguments.checkpoint_path, "device_target": "CPU", "progress_bar": "off",
            "mindrecord_dir": "", "test_batch_size": 16, "test_cfg.max_per_img": 100, "category_ids": []}  # fmt: skip
    classes = len(config_of_checkpoint(base).class_names)
    labels = draw(Path(arguments.output_dir, "pictures"), arguments.pictures, classes, seed=3)
    number = len(json.loads(labels.read_text())["annotations"])
    tiles = {"tile": arguments.tile, "overlap": arguments.overlap}
    ways: dict[str, dict] = {
        "whole picture": {"test_batch_size": 1},
        "whole, input of 1,024": {"test_batch_size": 1, "img_width": 1024, "img_height": 1024},
        "tiles, nms": tiles,
        "tiles, wbf": {**tiles, "merge": "wbf"},
        "tiles without overlap": {**tiles, "overlap": 0},
        "tiles, flipped too, wbf": {**tiles, "tta": "flip", "merge": "wbf"},
    }
    print(f"{arguments.pictures} pictures of {SIDE} x {SIDE}, {number} objects")
    print(f"{'':24}{'AP':>8}{'AP50':>8}{'AP75':>8}{'AR100':>8}{'s/picture':>11}")
    for name, keys in ways.items():
        if arguments.ways and name not in arguments.ways:
            continue
        config = config_of_checkpoint({**base, "val_dataset": str(labels), **keys})
        start = time.perf_counter()
        metrics, _, _ = evaluate_checkpoint(config)
        seconds = (time.perf_counter() - start) / arguments.pictures
        numbers = [metrics.stats[f"bbox_{one}"] for one in ("mAP", "mAP_50", "mAP_75", "AR_100")]
        print(f"{name:24}" + "".join(f"{value:8.3f}" for value in numbers) + f"{seconds:11.2f}", flush=True)


if __name__ == "__main__":
    main()
