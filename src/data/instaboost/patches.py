"""Unions, overlaps and warps of masks that touch the few pixels around an instance only."""

import cv2
import numpy as np

from src.data.instaboost.jitter import Box
from src.data.masks import MaskPatch, tight_patch


def hull(boxes: list[Box]) -> Box:
    """The smallest box around boxes."""
    x1, y1, x2, y2 = zip(*boxes, strict=True)
    return min(x1), min(y1), max(x2), max(y2)


def grow(box: Box, margin: int, image_hw: tuple[int, int]) -> Box:
    """The box with a margin, inside the image."""
    x1, y1, x2, y2 = box
    return max(x1 - margin, 0), max(y1 - margin, 0), min(x2 + margin, image_hw[1]), min(y2 + margin, image_hw[0])


def intersection(a: Box, b: Box) -> Box | None:
    """What two boxes share; None: nothing."""
    x1, y1, x2, y2 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def view(array: np.ndarray, box: Box, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
    """The part of an array inside a box; the array's first pixel is at `origin` (x, y)."""
    x, y = origin
    return array[box[1] - y : box[3] - y, box[0] - x : box[2] - x]


def part(patch: MaskPatch, box: Box) -> np.ndarray:
    """The patch's pixels inside a box that lies within its extents."""
    return view(patch.pixels, box, (patch.left, patch.top))


def paint(canvas: np.ndarray, patch: MaskPatch, value: int = 1, origin: tuple[int, int] = (0, 0)) -> None:
    """Set a mask's pixels on a uint8 canvas that holds its extents and whose first pixel is at `origin` (x, y)."""
    target = view(canvas, patch.box, origin)
    target[patch.pixels != 0] = value


def union(patches: list[MaskPatch]) -> MaskPatch:
    """All masks as one."""
    if len(patches) == 1:
        return patches[0]
    x1, y1, x2, y2 = hull([patch.box for patch in patches])
    canvas = np.zeros((y2 - y1, x2 - x1), np.uint8)
    for patch in patches:
        paint(canvas, patch, 1, (x1, y1))
    return MaskPatch(canvas, x1, y1)


def warp(patch: MaskPatch, matrix: np.ndarray, image_hw: tuple[int, int]) -> MaskPatch:
    """The mask under an affine map of pixel centres (float64 [2, 3]), what lies inside the image."""
    x1, y1, x2, y2 = patch.box
    corners = np.array([[x1, x2 - 1, x1, x2 - 1], [y1, y1, y2 - 1, y2 - 1], [1, 1, 1, 1]], np.float64)
    moved = matrix @ corners
    left, top = np.floor(moved.min(axis=1)).astype(int) - 1
    right, bottom = np.ceil(moved.max(axis=1)).astype(int) + 2
    window = intersection((left, top, right, bottom), (0, 0, image_hw[1], image_hw[0]))
    if window is None:
        return MaskPatch(np.zeros((0, 0), np.uint8), 0, 0)
    local = shifted(matrix, (x1, y1), window[:2])
    size = window[2] - window[0], window[3] - window[1]
    coverage = cv2.warpAffine(patch.pixels * np.uint8(255), local, size, flags=cv2.INTER_LINEAR)
    pixels = cv2.threshold(coverage, 127, 1, cv2.THRESH_BINARY)[1]
    return tight_patch(pixels, int(window[0]), int(window[1]))


def shifted(matrix: np.ndarray, source: tuple[int, int], target: tuple[int, int]) -> np.ndarray:
    """The same map between crops whose first pixels are at `source` and `target` (x, y)."""
    local = matrix.copy()
    local[:, 2] += matrix[:, :2] @ np.asarray(source, np.float64) - target
    return local


def covered(patch: MaskPatch, by: MaskPatch) -> MaskPatch | None:
    """The patch without the pixels of another mask; None where they share none."""
    shared = intersection(patch.box, by.box)
    if shared is None or not np.any(part(patch, shared) & part(by, shared)):
        return None
    pixels = patch.pixels.copy()
    view(pixels, shared, (patch.left, patch.top))[part(by, shared) != 0] = 0
    return tight_patch(pixels, patch.left, patch.top)
