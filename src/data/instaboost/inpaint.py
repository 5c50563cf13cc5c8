"""Filling holes: the background around continues smoothly into them (push-pull over an image pyramid)."""

import cv2
import numpy as np

FULL_TRUST = 4.0  # a cell of which a quarter is known is taken for known: the fill then continues the nearest pixels


def fill(image: np.ndarray, known: np.ndarray, hole: np.ndarray) -> None:
    """Fill a hole of an image from its known pixels, in place.

    Args:
        image: uint8 [h, w, 3], a window around the hole with some background.
        known: uint8 [h, w], 0 or 255: pixels that count as background. Without any the hole stays as it is.
        hole: uint8 [h, w], 0 or not: pixels to fill.
    """
    background = diffuse(halve(image, known))
    if background is None:
        return
    height, width = image.shape[:2]
    background = cv2.convertScaleAbs(background)
    doubled = cv2.resize(background, (2 * background.shape[1], 2 * background.shape[0]), interpolation=cv2.INTER_LINEAR)
    cv2.copyTo(doubled[:height, :width], hole, image)


def halve(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """float32 [ceil(h / 2), ceil(w / 2), 4]: mean of the known pixels times their fraction, and that fraction."""
    height, width = known.shape
    masked = cv2.copyTo(image, known, np.zeros_like(image))
    if height % 2 or width % 2:
        masked = cv2.copyMakeBorder(masked, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
        known = cv2.copyMakeBorder(known, 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
    return shrink(masked, known, 2)


def shrink(masked: np.ndarray, known: np.ndarray, factor: int) -> np.ndarray:
    """float32 [h / factor, w / factor, 4]: see `halve`; the sides are multiples of the factor."""
    size = known.shape[1] // factor, known.shape[0] // factor
    cells = np.empty((size[1], size[0], 4), np.float32)
    cells[..., :3] = cv2.resize(masked, size, interpolation=cv2.INTER_AREA)
    cells[..., 3] = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    cells[..., 3] *= np.float32(1 / 255)
    return cells


def diffuse(cells: np.ndarray) -> np.ndarray | None:
    """float32 [h, w, 3]: every cell known, those without a known pixel from ever coarser means. None: nothing known.

    Args:
        cells: float32 [h, w, 4], colours times weight, and weight 0..1.
    """
    levels = [cells]
    while levels[-1][..., 3].min() * FULL_TRUST < 1 and max(levels[-1].shape[:2]) > 1:
        height, width = levels[-1].shape[:2]
        even = cv2.copyMakeBorder(levels[-1], 0, height % 2, 0, width % 2, cv2.BORDER_CONSTANT)
        size = even.shape[1] // 2, even.shape[0] // 2
        levels.append(cv2.resize(even, size, interpolation=cv2.INTER_AREA))
    coarse = None
    for level in reversed(levels):
        weight = level[..., 3:]
        own = level[..., :3] / np.maximum(weight, np.float32(1e-6))
        if coarse is None:
            if weight.max() <= 0:
                return None
            coarse = own
            continue
        height, width = level.shape[:2]
        size = 2 * coarse.shape[1], 2 * coarse.shape[0]
        up = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
        own -= up
        own *= np.minimum(weight * np.float32(FULL_TRUST), 1)
        own += up
        coarse = own
    return coarse
