"""What every reader checks and leaves out alike: boxes against their image, images against their folder."""

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from src.common.errors import UserError
from src.common.text import shown

Item = TypeVar("Item")

_NUMBERS = {int, float}

MIN_BOX_SIDE = 1e-3  # pixels; a box that is thinner than this after clipping to its image is left out


def clip_box(corners: Sequence[float], height: int, width: int) -> tuple[float, float, float, float] | None:
    """(x1, y1, x2, y2) inside the image; None when nothing of it is left or a number is not finite."""
    if not all(map(math.isfinite, corners)):
        return None
    x1, y1, x2, y2 = corners
    x1, x2 = max(x1, 0.0), min(x2, float(width))
    y1, y2 = max(y1, 0.0), min(y2, float(height))
    return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= MIN_BOX_SIDE else None


def box_numbers(box: object) -> tuple[float, float, float, float]:
    """The four numbers of a box in JSON; raises ValueError where it is anything else."""
    if not isinstance(box, list | tuple) or len(box) != 4 or not _NUMBERS.issuperset(map(type, box)):
        raise ValueError(f"its box is {shown(box)}, not four numbers")
    try:
        x1, y1, x2, y2 = map(float, box)
    except OverflowError:
        raise ValueError(f"its box is {shown(box)}, beyond all images") from None
    return x1, y1, x2, y2


class FolderListings:
    """Tells which files exist from one listing per folder: a stat per file is slow on network drives."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def __contains__(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return name in self.names(folder)

    def names(self, folder: str) -> set[str]:
        """Names of what a folder holds; none where there is no such folder."""
        if folder not in self._names:
            try:
                self._names[folder] = {entry.name for entry in os.scandir(folder)} if Path(folder).is_dir() else set()
            except OSError as error:
                raise UserError(f"{folder}: cannot read this folder ({error.strerror})") from None
        return self._names[folder]


def check_unique(listed: Iterable[tuple[str, str | os.PathLike]]) -> None:
    """Raise a UserError when a path is listed twice; pairs of file and line, and path."""
    seen: dict[str, str] = {}
    for where, path in listed:
        name = os.fspath(path)
        if name in seen:
            raise UserError(f"{where}: {name} is in {seen[name]} too; an image may be listed only once")
        seen[name] = where


def subset(items: list[Item], first: int, every: int) -> list[Item]:
    """The first `first` (0: all) items, and of those every `every`-th (0: all), beginning with the first."""
    return items[: first or None][:: every or 1]


def clip_boxes(boxes: np.ndarray, height: np.ndarray, width: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`clip_box` of many boxes at a time.

    Args:
        boxes: float64 [n, 4], x, y, width, height.
        height: int64 [n], of each box's image.
        width: int64 [n], of each box's image.

    Returns:
        float64 [n, 4], x1 y1 x2 y2 inside the image; and bool [n], whether anything of the box is left.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        usable = np.isfinite(corners).all(axis=1)
        corners[:, :2] = np.maximum(corners[:, :2], 0.0)
        corners[:, 2:] = np.minimum(corners[:, 2:], np.stack([width, height], axis=1))
        usable &= (corners[:, 2:] - corners[:, :2]).min(axis=1, initial=np.inf) >= MIN_BOX_SIDE
    return corners, usable
