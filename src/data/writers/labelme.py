"""Write labelme's layout: `train/a.json` beside `train/a.jpg`."""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.data.masks import MaskError, decode_mask
from src.data.writers.api import ImagePlacer, WrittenImage, WrittenObject, WrittenSplit, leave_out_crowds, write_text

VERSION = "5.5.0"


def write(split: WrittenSplit, folder: Path, placer: ImagePlacer) -> Path:
    """Write a split; see `SplitWriter`. Run lengths are written as masks, boxes without a mask as rectangles."""
    for image in split.images:
        placed = placer.place(image.path, folder / split.name)
        objects = leave_out_crowds(image, split)
        shapes = [shape for group, one in enumerate(objects) for shape in _shapes(one, group, image, split.class_names)]
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": placed.name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        write_text(placed.with_suffix(".json"), json.dumps(content, indent=1))
    return folder / split.name


def _shapes(one: WrittenObject, group: int, image: WrittenImage, class_names: list[str]) -> list[dict]:
    """The shapes of an object: the parts of one share a group."""
    common: dict[str, Any] = {
        "label": class_names[one.label],
        "group_id": None,
        "flags": {"difficult": True} if one.difficult else {},
    }
    if isinstance(one.mask, list):
        parts = [polygon for polygon in one.mask if len(polygon) >= 6]
        common["group_id"] = group if len(parts) > 1 else None
        pairs = [list(map(list, zip(part[::2], part[1::2], strict=True))) for part in parts]
        return [{**common, "points": points, "shape_type": "polygon"} for points in pairs]
    if one.mask is not None and (shape := _mask(one.mask, image)) is not None:
        return [{**common, **shape}]
    x1, y1, x2, y2 = one.box
    return [{**common, "points": [[x1, y1], [x2, y2]], "shape_type": "rectangle"}]


def _mask(mask: dict, image: WrittenImage) -> dict | None:
    """A mask's corners, the last pixel included, and its pixels as PNG; None where it cannot be decoded."""
    try:
        patch = decode_mask(mask, image.height, image.width)
    except MaskError:
        return None
    if not patch.pixels.size:
        return None
    left, top, right, bottom = patch.box
    text = base64.b64encode(cv2.imencode(".png", patch.pixels * np.uint8(255))[1].tobytes()).decode()
    return {"points": [[left, top], [right - 1, bottom - 1]], "shape_type": "mask", "mask": text}
