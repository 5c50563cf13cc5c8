"""Write COCO's JSON: `train/labels.json` with images in `train/data/`, and the same for `val`."""

import json
from pathlib import Path

from src.common.atomic import atomic_path
from src.data.coco_ground_truth import mask_area
from src.data.writers.api import ImagePlacer, WrittenImage, WrittenObject, WrittenSplit


def write(split: WrittenSplit, folder: Path, placer: ImagePlacer) -> Path:
    """Write a split; see `SplitWriter`."""
    names = [placer.place(image.path, folder / split.name / "data").name for image in split.images]
    return write_labels(split, folder / split.name / "labels.json", names)


def write_labels(split: WrittenSplit, path: Path, file_names: list[str]) -> Path:
    """Write the annotation file alone; `file_names` are those of the images, relative to the folder of images."""
    images: list[dict] = []
    annotations: list[dict] = []
    for image, name in zip(split.images, file_names, strict=True):
        images.append({"id": image.image_id, "file_name": name, "height": image.height, "width": image.width})
        for one in image.objects:
            annotations.append({"id": len(annotations) + 1, **_annotation(one, image, split.category_ids)})
    pairs = zip(split.category_ids, split.class_names, strict=True)
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": category_id, "name": name} for category_id, name in pairs],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
    return path


def _annotation(one: WrittenObject, image: WrittenImage, category_ids: list[int]) -> dict:
    x1, y1, x2, y2 = one.box
    area = mask_area(one.mask, image.height, image.width) or (x2 - x1) * (y2 - y1)
    return {
        "image_id": image.image_id,
        "category_id": category_ids[one.label],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": area,
        "iscrowd": int(one.crowd),
        **({"segmentation": one.mask} if one.mask is not None else {}),
        **({"difficult": 1} if one.difficult else {}),
    }
