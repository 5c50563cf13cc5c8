"""Write YOLO's layout: data.yaml, `images/train/a.jpg` and `labels/train/a.txt`."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from src.data.writers.api import ImagePlacer, WrittenImage, WrittenObject, WrittenSplit, leave_out_crowds, write_text
from src.data.writers.polygons import one_polygon, polygons_of


def write(split: WrittenSplit, folder: Path, placer: ImagePlacer) -> Path:
    """Write a split; see `SplitWriter`. An object with a mask is written as one polygon, any other as a box."""
    for image in split.images:
        placed = placer.place(image.path, folder / "images" / split.name)
        lines = [_line(one, image) for one in leave_out_crowds(image, split)]
        write_text(folder / "labels" / split.name / f"{placed.stem}.txt", "".join(lines))
    path = folder / "data.yaml"
    present = [name for name in ("train", "val") if (folder / "images" / name).is_dir()]
    content = {name: f"images/{name}" for name in present} | {"names": dict(enumerate(split.class_names))}
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def _line(one: WrittenObject, image: WrittenImage) -> str:
    polygons = [] if one.mask is None else polygons_of(one.mask, image.height, image.width)
    if polygons:
        return _words(one.label, one_polygon(polygons), image)
    x1, y1, x2, y2 = one.box
    return _words(one.label, [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], image)


def _words(label: int, numbers: Sequence[float], image: WrittenImage) -> str:
    sides = (image.width, image.height)
    shares = [min(max(number / sides[place % 2], 0.0), 1.0) for place, number in enumerate(numbers)]
    return f"{label} {' '.join(f'{share:.9g}' for share in shares)}\n"
