"""Masks as the polygons that formats without run lengths have."""

import cv2
import numpy as np

from src.data.masks import MaskError, Segmentation, decode_mask

ENLARGED = 2  # pixels become so many, so that a polygon follows their edges
LEAST_POINTS = 3


def polygons_of(mask: Segmentation, height: int, width: int) -> list[list[float]]:
    """The polygons of a mask, each x1, y1, x2, y2, ...; those of run lengths follow the edges within half a pixel.

    Holes of run lengths are filled. A mask that cannot be decoded has no polygons.

    Args:
        mask: COCO's segmentation.
        height: of the image in pixels.
        width: of the image in pixels.
    """
    if isinstance(mask, list):
        return [list(map(float, polygon)) for polygon in mask if len(polygon) >= 2 * LEAST_POINTS]
    try:
        patch = decode_mask(mask, height, width)
    except MaskError:
        return []
    large = patch.pixels.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
    if not large.size:
        return []
    outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    # The centre of enlarged pixel i lies at (i + 0.5) / ENLARGED; the object reaches a quarter of a pixel farther.
    shift = np.array([patch.left, patch.top])
    points = [(outline[:, 0] + 0.5) / ENLARGED + shift for outline in outlines if len(outline) >= LEAST_POINTS]
    return [_grown(one).ravel().tolist() for one in points]


def _grown(points: np.ndarray) -> np.ndarray:
    """Points moved outward by a quarter of a pixel, to the edges of the pixels whose centres they are near."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-9)
    return middle + (points - middle) * (half + 0.25) / half


def one_polygon(polygons: list[list[float]]) -> list[float]:
    """Several polygons as one, joined by lines that are walked there and back and so enclose nothing."""
    joined: list[float] = list(polygons[0])
    if len(polygons) == 1:
        return joined
    joined += polygons[0][:2]
    for polygon in polygons[1:]:
        joined += [*polygon, *polygon[:2]]
    for polygon in reversed(polygons[:-1]):
        joined += polygon[:2]
    return joined
