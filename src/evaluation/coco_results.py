"""Detections in COCO's results format, checked and taken apart into arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from src.common.entries import NUMBER, Rule, column
from src.common.errors import UserError
from src.common.text import shown
from src.data.masks import MaskError, run_length_code

FARTHEST = 1e15  # of a coordinate or a score
WHOLE = Rule("a whole number", (int, float), lambda value: -(2**63) <= value < 2**63 and value == int(value))
BOX = Rule("a list [x, y, width, height] of numbers", (list, tuple), lambda box: len(box) == 4)


class ResultColumns(NamedTuple):
    """What N results hold.

    Attributes:
        image_ids, category_ids: N ids each.
        scores: float64 [N], finite.
        boxes: float64 [N, 4], x, y, width, height in pixels, finite.
        masks: N run-length codes that can be decoded; None: not asked for.
    """

    image_ids: list[int]
    category_ids: list[int]
    scores: np.ndarray
    boxes: np.ndarray
    masks: list[dict] | None


def result_columns(
    results: Sequence[dict], sizes: Mapping[int, tuple[int, int]] | None, origin: str | Path
) -> ResultColumns:
    """Take results apart.

    Args:
        results: dicts with image_id, category_id, score, and bbox or a mask that the box is drawn around.
        sizes: (height, width) of images by their id, where each result needs a mask; None: masks are not looked at.
        origin: file, for messages.

    Raises:
        UserError: a result lacks one of these, or has something else there.
    """
    where = f"{origin} (image_id, category_id, bbox [x, y, width, height] and score of each are needed): result"
    image_ids = [int(value) for value in column(results, "image_id", WHOLE, where)]
    category_ids = [int(value) for value in column(results, "category_id", WHOLE, where)]
    scores = _finite([[value] for value in column(results, "score", NUMBER, where)], "score", where)
    masks = None if sizes is None else _masks(results, image_ids, sizes, origin)
    boxes = [
        _box_around(result, image, origin) if "segmentation" in result and "bbox" not in result else result.get("bbox")
        for result, image in zip(results, image_ids, strict=True)
    ]
    column([{"bbox": box} for box in boxes], "bbox", BOX, where)
    return ResultColumns(
        image_ids, category_ids, scores.reshape(-1), _finite(boxes, "bbox", where).reshape(-1, 4), masks
    )


def _finite(rows: Sequence, name: str, where: str) -> np.ndarray:
    """Rows of numbers as float64; raises a UserError that names the first with anything else."""
    try:
        table = np.array(rows)
    except ValueError:  # rows of different lengths
        table = np.array([None])
    if not len(rows) or (table.dtype.kind in "iuf" and (np.abs(table) <= FARTHEST).all()):
        return table.astype(np.float64)
    for number, row in enumerate(rows):
        if not all(type(value) in (int, float) and abs(value) <= FARTHEST for value in row):
            raise UserError(
                f"{where}[{number}]: {name} is {shown(row[0] if len(row) == 1 else row)}, not finite numbers"
            )
    raise AssertionError(f"{where}: {name} is wrong nowhere")


def _masks(
    results: Sequence[dict], image_ids: Sequence[int], sizes: Mapping[int, tuple[int, int]], origin: str | Path
) -> list[dict]:
    """The run-length codes; raises a UserError where one is missing or cannot be decoded."""
    masks = [result.get("segmentation") for result in results]
    if any(mask is None for mask in masks):
        raise UserError(f"{origin}: no masks, but 'segm' is to be evaluated")
    return [_code(mask, sizes.get(image), image, origin) for image, mask in zip(image_ids, masks, strict=True)]


def _code(mask: object, size: tuple[int, int] | None, image: int, origin: str | Path) -> dict:
    """A mask as pycocotools has it; its own size counts where that of the image is not known."""
    try:
        if not isinstance(mask, dict):
            raise MaskError("its segmentation is no run-length code")
        return run_length_code(mask, *(size or _own_size(mask)))
    except MaskError as error:
        raise UserError(f"{origin}: a mask of image {image} cannot be evaluated: {error}") from None


def _own_size(mask: dict) -> tuple[int, int]:
    size = mask.get("size")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(one) is int and one > 0 for one in size):
        raise MaskError(f"its RLE has size {shown(size)}")
    return size[0], size[1]


def _box_around(result: dict, image: int, origin: str | Path) -> list[float]:
    return coco_mask.toBbox([_code(result["segmentation"], None, image, origin)])[0].tolist()
