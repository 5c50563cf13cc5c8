"""Write FiftyOne's own layout: `train/labels.json` with images in `train/data/`, and the same for `val`."""

import json
from pathlib import Path
from typing import Any

from src.data.writers.api import ImagePlacer, WrittenImage, WrittenObject, WrittenSplit, write_text


def write(split: WrittenSplit, folder: Path, placer: ImagePlacer) -> Path:
    """Write a split; see `SplitWriter`. Masks are left out; crowds and difficult objects are marked by attributes."""
    labels = {}
    for image in split.images:
        placed = placer.place(image.path, folder / split.name / "data")
        labels[placed.stem] = [_object(one, image) for one in image.objects]
        if masks := sum(one.mask is not None for one in image.objects):
            split.problems.append(f"{image.path}: {masks} masks are left out: the format has none")
    write_text(folder / split.name / "labels.json", json.dumps({"classes": split.class_names, "labels": labels}))
    return folder / split.name


def _object(one: WrittenObject, image: WrittenImage) -> dict[str, Any]:
    x1, y1, x2, y2 = one.box
    box = [x1 / image.width, y1 / image.height, (x2 - x1) / image.width, (y2 - y1) / image.height]
    flags = {name: 1 for name, value in (("iscrowd", one.crowd), ("difficult", one.difficult)) if value}
    return {"label": one.label, "bounding_box": box, **({"attributes": flags} if flags else {})}
