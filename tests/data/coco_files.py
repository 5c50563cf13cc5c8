"""Write small COCO-format data sets for tests."""

import json
from pathlib import Path

import cv2
import numpy as np

NAMES = ["cat", "dog", "owl"]
IDS = [7, 90, 12]  # neither contiguous nor in the order of the names


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 [height, width, 3], smooth enough that JPEG keeps it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def annotation(annotation_id: int, image_id: int, box: list, category_id: int = IDS[0], **more) -> dict:
    x, y, w, h = (box + [0, 0, 0, 0])[:4]
    values = {"id": annotation_id, "image_id": image_id, "category_id": category_id, "bbox": box, "iscrowd": 0}
    return {**values, "area": w * h, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]], **more}


def content(images: list[dict], annotations: list[dict], names=NAMES, ids=IDS) -> dict:
    categories = [{"id": i, "name": name} for i, name in zip(ids, names, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_dataset(
    root: Path,
    count: int = 6,
    height: int = 40,
    width: int = 60,
    annotations: list[dict] | None = None,
    labels: str = "labels.json",
    images_dir: str = "data",
    file_name: str = "{:03d}.png",
) -> Path:
    """`count` images with ids 10, 13, 16, ... and, by default, image number n with n % 3 objects. Returns root."""
    folder = root / images_dir
    folder.mkdir(parents=True, exist_ok=True)
    images, objects = [], []
    for n in range(count):
        name = file_name.format(n)
        cv2.imencode(".png", noise_image(height, width, n))[1].tofile(folder / name)
        images.append({"id": 10 + 3 * n, "file_name": name, "height": height, "width": width})
        objects += [
            annotation(100 * n + k, 10 + 3 * n, [5 + 4 * k, 6 + n % 7, 20, 12 + k], IDS[k]) for k in range(n % 3)
        ]
    (root / labels).parent.mkdir(parents=True, exist_ok=True)
    (root / labels).write_text(json.dumps(content(images, objects if annotations is None else annotations)))
    return root
