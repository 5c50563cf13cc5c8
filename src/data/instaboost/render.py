"""The image after all groups have been placed: holes filled, instances pasted."""

import cv2
import numpy as np

from src.data.instaboost.inpaint import fill
from src.data.instaboost.jitter import Box
from src.data.instaboost.patches import grow, intersection, shifted, view
from src.data.instaboost.placement import EDGE, Placement
from src.data.masks import MaskPatch

HOLE_MARGIN = 2  # pixels around a mask that still show the instance: masks are seldom exact


def grown(occupied: np.ndarray) -> np.ndarray:
    """uint8 [H, W]: the occupied pixels and those near them, which cannot serve as background to fill holes from."""
    side = 2 * HOLE_MARGIN + 1
    return cv2.dilate(occupied, np.ones((side, side), np.uint8))


def render(
    image: np.ndarray, occupied: np.ndarray, near: np.ndarray, placements: list[Placement], hard_edge: bool
) -> np.ndarray:
    """A new image.

    Args:
        image: uint8 [H, W, 3].
        occupied: uint8 [H, W], 1 on all objects' old masks.
        near: `grown(occupied)`.
        placements: all groups, in the order of pasting.
        hard_edge: see `Settings`.

    Returns:
        uint8 [H, W, 3].
    """
    result = image.copy()
    for placement in placements:
        if placement.matrix is not None:
            _clear(result, occupied, near, placement)
    for placement in placements:
        _paste(result, image, placement, hard_edge)
    return result


def _clear(result: np.ndarray, occupied: np.ndarray, near: np.ndarray, placement: Placement) -> None:
    """Fill the place that a group left with the background around it."""
    box = placement.old.box
    margin = 8 + max(box[2] - box[0], box[3] - box[1]) // 8
    window = grow(box, margin, _size_of(result))
    own = _in_window(placement.old, window)
    others = view(occupied, window) & ~own
    hole = grown(own) & ~others
    known = cv2.compare(view(near, window), 0, cv2.CMP_EQ)
    fill(view(result, window), known, hole)


def _paste(result: np.ndarray, image: np.ndarray, placement: Placement, hard_edge: bool) -> None:
    """Put a group's pixels at its new place."""
    box = grow(placement.new.box, EDGE, _size_of(image))
    mask = _in_window(placement.new, box)
    target = view(result, box)
    if placement.matrix is None:
        cv2.copyTo(view(image, box), mask, target)
        return
    source = grow(placement.old.box, EDGE + 1, _size_of(image))
    moved = cv2.warpAffine(
        view(image, source),
        shifted(placement.matrix, source[:2], box[:2]),
        mask.shape[::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if hard_edge:
        cv2.copyTo(moved, mask, target)
        return
    side = 2 * EDGE + 1
    alpha = cv2.GaussianBlur(mask.astype(np.float32), (side, side), 0, borderType=cv2.BORDER_REPLICATE)
    target[:] = cv2.blendLinear(moved, target, alpha, 1 - alpha)


def _size_of(image: np.ndarray) -> tuple[int, int]:
    height, width = image.shape[:2]
    return height, width


def _in_window(mask: MaskPatch, window: Box) -> np.ndarray:
    """uint8 [h, w], 0 or 1: a mask on the canvas of a window."""
    canvas = np.zeros((window[3] - window[1], window[2] - window[0]), np.uint8)
    shared = intersection(mask.box, window)
    if shared is not None:
        view(canvas, shared, window[:2])[:] = view(mask.pixels, shared, (mask.left, mask.top))
    return canvas
