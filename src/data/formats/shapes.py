"""From the shapes that annotation tools draw to boxes and masks."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from src.data.formats.listed import ListedObject
from src.data.masks import runs_of_window, tight_patch

ELLIPSE_POINTS = 36

Points = Sequence[tuple[float, float]]


def bounds_of(points: Points) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 of the points of a shape; not finite where one of them is not."""
    xs, ys = zip(*points, strict=True)
    if not all(map(math.isfinite, (*xs, *ys))):  # min and max pass over NaN
        return math.nan, math.nan, math.nan, math.nan
    return min(xs), min(ys), max(xs), max(ys)


def polygon_object(where: str, label: int, points: Points) -> ListedObject:
    """An object with a polygon; its box is the smallest around it."""
    return ListedObject(where, label, bounds_of(points), mask=[[value for point in points for value in point]])


def window_object(
    where: str, label: int, pixels: np.ndarray, left: int, top: int, size_hw: tuple[int, int]
) -> ListedObject:
    """An object with a mask that is given by a window of its image; see `runs_of_window`."""
    patch = tight_patch(pixels.view(np.uint8), left, top)
    mask = runs_of_window(patch.pixels, patch.left, patch.top, *size_hw) if patch.pixels.size else None
    x1, y1, x2, y2 = map(float, patch.box)
    return ListedObject(where, label, (x1, y1, x2, y2), mask=mask)  # without a pixel, it is left out as an empty box


def ellipse_points(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0) -> Points:
    """A polygon in place of an ellipse that is turned clockwise about its centre."""
    angles = [2 * math.pi * index / ELLIPSE_POINTS for index in range(ELLIPSE_POINTS)]
    return turned([(x + radius_x * math.cos(angle), y + radius_y * math.sin(angle)) for angle in angles], x, y, degrees)


def turned(points: Points, x: float, y: float, degrees: float) -> Points:
    """The points after a clockwise turn about (x, y), y pointing down."""
    if not math.isfinite(degrees):
        return [(math.nan, math.nan)]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    moved = [(one - x, other - y) for one, other in points]
    return [(x + one * cosine - other * sine, y + one * sine + other * cosine) for one, other in moved]


def joined_groups(objects: Iterable[tuple[ListedObject, object]]) -> list[ListedObject]:
    """Objects with those made one that were annotated in several parts.

    Args:
        objects: each with the group that its tool put it into; polygons of one label and group are the parts of one
            object, which several things hide or divide. None: in no group.
    """
    result: list[ListedObject] = []
    place: dict[tuple[int, object], int] = {}
    for one, group in objects:
        if group is None or not isinstance(one.mask, list):
            result.append(one)
            continue
        first = place.setdefault((one.label, group), len(result))
        if first == len(result):
            result.append(one)
            continue
        before = result[first]
        parts = [*before.mask, *one.mask] if isinstance(before.mask, list) else one.mask
        corners = [before.corners[:2], before.corners[2:], one.corners[:2], one.corners[2:]]
        result[first] = replace(before, corners=bounds_of(corners), mask=parts)
    return result
