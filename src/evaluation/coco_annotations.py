"""The ground truth of a COCO annotation file, as evaluation needs it."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np

from src.common.entries import check_list
from src.common.errors import UserError
from src.common.json_files import parse_json
from src.common.text import shortened
from src.data.coco_content import check_categories, check_images
from src.data.masks import run_length_code
from src.data.reader_checks import box_numbers
from src.evaluation.coco_matching import Objects

logger = logging.getLogger(__name__)


def read_annotations(source: str | Path | dict, origin: str | Path = "annotations") -> dict:
    """The parsed annotation file (a dict is returned as it is), checked as far as evaluation needs it.

    Args:
        source: the file, or its content.
        origin: what messages call content.

    Raises:
        UserError: the file is missing, not JSON, or has no list of images, each with an id; categories or annotations
            that are no lists, or categories without ids.
    """
    if not isinstance(source, dict):
        origin = source
        source = _parsed(Path(source))
    if not isinstance(source, dict) or not isinstance(source.get("images"), list):
        raise UserError(f"{origin}: not a COCO annotation file, which is an object with a list 'images'")
    check_images(source, origin, with_files=False)
    if source.get("categories"):
        check_categories(source, origin)
    check_list(source.get("annotations") or [], f"{origin}: annotations")
    return source


def _parsed(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read the annotation file ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: not a JSON file ({error})") from error


def image_ids_of(annotations: dict) -> np.ndarray:
    """Image ids, int64 [I], sorted and each once."""
    return np.unique(np.array([image["id"] for image in annotations["images"]], np.int64))


def check_class_categories(annotations: dict, class_names: list[str], category_ids: list[int]) -> None:
    """Raise UserError unless each class has a category of that id and name (a file without categories has none)."""
    if len(class_names) != len(category_ids):
        raise UserError(f"category_ids: {len(category_ids)} ids for {len(class_names)} class names")
    known = {category["id"]: str(category["name"]) for category in annotations.get("categories") or []}
    pairs = zip(category_ids, class_names, strict=True)
    wrong = [f"{i} '{name}'" for i, name in pairs if known.get(int(i)) != name]
    if known and wrong:
        listed = ", ".join(f"{i} '{name}'" for i, name in known.items())
        raise UserError(f"category_ids: {', '.join(wrong)} not among the annotations' categories: {listed}")


def check_segmentations(annotations: dict, name: str) -> None:
    """Raise UserError when there are objects and none of them has a mask; `name` is the file in the message."""
    objects = annotations.get("annotations") or []
    if objects and not any(isinstance(one, dict) and one.get("segmentation") for one in objects):
        raise UserError(
            f"{name}: none of its {len(objects)} annotations has a 'segmentation' (polygons or run-length code); a "
            "model with masks is evaluated against masks: give annotations that have them"
        )


def ground_truth(
    annotations: dict,
    image_ids: np.ndarray,
    category_ids: list[int],
    with_masks: bool,
    origin: str | Path = "annotations",
) -> Objects:
    """The objects of the images `image_ids` (sorted) in the classes `category_ids`, crowds and difficult ones included.

    Annotations without a usable box, or without a usable mask where `with_masks`, are left out with a warning that
    names `origin` and the first of them. Masks become run-length codes.
    """
    label_of = {int(category): label for label, category in enumerate(category_ids)}
    position_of = {int(image): position for position, image in enumerate(image_ids)}
    sizes = image_sizes(annotations) if with_masks else None
    rows, masks, broken = [], [], []
    for annotation in annotations.get("annotations") or []:
        try:
            position = position_of.get(int(annotation["image_id"]))
            label = label_of.get(int(annotation["category_id"]))
            if position is None or label is None:
                continue
            rows.append((position, label, *_numbers_of(annotation)))
            if sizes is not None:
                masks.append(run_length_code(annotation["segmentation"], *sizes[int(image_ids[position])]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            del rows[len(masks) if sizes is not None else len(rows) :]  # its row, where only the mask is unusable
            broken.append(_named(annotation, error))
    if broken:
        needed = "image_id, category_id, bbox or segmentation" if with_masks else "image_id, category_id or bbox"
        logger.warning(
            "%s: %d annotations have no usable %s and were left out, the first: %s",
            origin, len(broken), needed, broken[0],
        )  # fmt: skip
    table = np.array(rows, np.float64).reshape(-1, 9)
    return Objects(
        image=table[:, 0].astype(np.int64),
        label=table[:, 1].astype(np.int64),
        boxes=table[:, 2:6],
        area=table[:, 6],
        score=np.zeros(len(table)),
        crowd=table[:, 7].astype(bool),
        masks=masks if with_masks else None,
        difficult=table[:, 8].astype(bool),
    )


def _numbers_of(annotation: dict) -> tuple[float, ...]:
    """x, y, width, height, area, crowd, difficult of an annotation. Raises what is wrong with them."""
    x, y, width, height = box_numbers(annotation["bbox"])
    area = annotation.get("area")
    area = width * height if area is None else float(area)
    crowd, difficult = annotation.get("iscrowd", 0), annotation.get("difficult", 0)
    if not math.isfinite(x + y + width + height + area):
        raise ValueError("a number of its box or area is not finite")
    if crowd not in (0, 1) or difficult not in (0, 1):
        raise ValueError("iscrowd and difficult are 0 or 1")
    return x, y, width, height, area, crowd, difficult


def _named(annotation: object, error: Exception) -> str:
    """An annotation and what is wrong with it, in one line."""
    if not isinstance(annotation, dict):
        return f"{shortened(repr(annotation))} is no annotation"
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    number, image = annotation.get("id"), annotation.get("image_id")
    return f"annotation {shortened(str(number))} of image {shortened(str(image))}: {reason}"


def image_sizes(annotations: dict) -> dict[int, tuple[int, int]]:
    """(height, width) of each image that has them, by its id."""
    known = (image for image in annotations["images"] if image.get("height") and image.get("width"))
    return {int(image["id"]): (int(image["height"]), int(image["width"])) for image in known}
