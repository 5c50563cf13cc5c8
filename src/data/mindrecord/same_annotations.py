"""Whether MindRecord files hold the annotations of a file that is named beside them."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from src.common.errors import UserError
from src.data.detection_dataset import DetectionDataset
from src.data.formats.coco import read_annotations
from src.data.mindrecord.manifest import AGAIN
from src.data.reading_speed import without_garbage_collection

Contents = dict[int, tuple[Any, list[dict]]]  # {image id: (name and size, annotations)}


def refuse_other_annotations(path: Path, dataset: DetectionDataset) -> None:
    """Raise a UserError unless a data set's annotations are those of a COCO annotation file, its images included."""
    with without_garbage_collection():
        named, stored = read_annotations(path), dataset.coco_annotations()
        difference = _difference(named, stored)
    if difference:
        raise UserError(
            f"{path}: {difference}, unlike {dataset.annotation_file}, which would be evaluated: give the annotations "
            f"that were packed, {AGAIN}, or --mindrecord_dir '' to take the images"
        )


def _difference(named: dict, stored: dict) -> str:
    """What is not the same, '' where everything is."""
    here, there = ({one["id"]: one["name"] for one in content["categories"]} for content in (named, stored))
    if here != there:
        return f"its categories are {here}"
    first, second = _contents(named), _contents(stored)
    if first.keys() != second.keys():
        other = min(first.keys() ^ second.keys())
        return f"{len(first)} images instead of {len(second)}, and {'' if other in first else 'not '}image_id {other}"
    differing = [image_id for image_id, content in first.items() if content != second[image_id]]
    return f"{len(differing)} images differ, the first: image_id {differing[0]}" if differing else ""


def _contents(content: dict) -> Contents:
    annotations = defaultdict(list)
    for annotation in content["annotations"]:
        annotations[annotation.get("image_id")].append(annotation)
    return {
        image["id"]: ((image["file_name"], image["height"], image["width"]), annotations[image["id"]])
        for image in content["images"]
    }
