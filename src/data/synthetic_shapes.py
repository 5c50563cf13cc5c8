"""Outlines, exact masks and textures of the synthetic data set's shapes."""

from collections.abc import Callable

import cv2
import numpy as np

OVERSAMPLING = 8  # sub-pixels per side, for exact coverage and smooth edges


def _regular(corners: int, first_angle: float = 0.0) -> np.ndarray:
    angles = first_angle + np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> np.ndarray:
    outline = _regular(10, -np.pi / 2)
    outline[1::2] *= 0.42
    return outline


def _cross() -> np.ndarray:
    arm = 0.32
    quarter = [(arm, -1), (arm, -arm), (1, -arm)]
    corners, outline = np.array(quarter), []
    for _ in range(4):
        outline.append(corners)
        corners = corners @ np.array([[0, 1], [-1, 0]])
    return np.concatenate(outline)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1) / 16


SHAPES: dict[str, Callable[[], np.ndarray]] = {
    "circle": lambda: _regular(40),
    "square": lambda: _regular(4, np.pi / 4),
    "triangle": lambda: _regular(3, -np.pi / 2),
    "star": _star,
    "cross": _cross,
    "heart": _heart,
}
MAX_ANGLE = {"circle": np.pi, "square": np.pi / 12, "triangle": np.pi / 6, "heart": np.pi / 6, "cross": np.pi / 12}


def random_outline(name: str, size: float, rng: np.random.Generator) -> np.ndarray:
    """Outline of a shape around the origin, squeezed and turned at random.

    Args:
        name: key of `SHAPES`.
        size: longer side of its bounding box, in pixels; the shorter is at least .75 of it before turning.
        rng: draws both.

    Returns:
        float64 [n, 2], x y in pixels.
    """
    outline = SHAPES[name]() * (1.0, rng.uniform(0.75, 1.0))
    if rng.random() < 0.5:
        outline = outline[:, ::-1] if name in ("circle", "square", "cross") else outline
    angle = rng.uniform(-1, 1) * MAX_ANGLE.get(name, np.pi / 5)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outline = outline @ turn
    low, high = outline.min(axis=0), outline.max(axis=0)
    return (outline - (low + high) / 2) * (size / (high - low).max())


def coverage(outline: np.ndarray, height: int, width: int) -> tuple[np.ndarray, slice, slice]:
    """Share of each pixel inside an outline.

    Args:
        outline: [n, 2], x y in pixels of the image; pixel i spans i to i+1. It may reach outside.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        float32 [h, w] in 0..1 of the window around the outline, and the window's row and column slices. Empty when the
        outline is outside the image.
    """
    low = np.clip(np.floor(outline.min(axis=0)).astype(int), 0, (width, height))
    high = np.clip(np.ceil(outline.max(axis=0)).astype(int), 0, (width, height))
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    h, w = high[1] - low[1], high[0] - low[0]
    if h <= 0 or w <= 0:
        return np.zeros((0, 0), np.float32), slice(0, 0), slice(0, 0)
    fine = np.zeros((h * OVERSAMPLING, w * OVERSAMPLING), np.uint8)
    # OpenCV's coordinates are those of pixel centres, in units of 1/16 here.
    points = np.round(((outline - low) * OVERSAMPLING - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(fine, [points], 255, lineType=cv2.LINE_8, shift=4)
    return cv2.resize(fine, (int(w), int(h)), interpolation=cv2.INTER_AREA).astype(np.float32) / 255, rows, columns


def random_background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Blotches, perhaps stripes, and grain in muted colours: float32 [height, width, 3]."""
    base = rng.uniform(60, 195, 3)
    blotches = rng.normal(0, 22, (int(rng.integers(3, 9)), int(rng.integers(3, 9)), 3)).astype(np.float32)
    image = cv2.resize(blotches, (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:
        angle, period = rng.uniform(0, np.pi), rng.uniform(6, 40)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period))
        image += wave[..., None] * rng.uniform(-18, 18, 3).astype(np.float32)
    image += base.astype(np.float32)
    image += grain(height, width, rng)
    return image


def grain(height: int, width: int, rng: np.random.Generator, strength: float = 6.0) -> np.ndarray:
    """Noise that is the same in all channels: float32 [height, width, 1]."""
    return rng.standard_normal((height, width, 1), np.float32) * np.float32(strength)


def contrasting_colour(neighbours: np.ndarray, rng: np.random.Generator, least: float = 110.0) -> np.ndarray:
    """Random RGB colour at least `least` from the mean of `neighbours` [n, 3], if 20 tries find one."""
    around = neighbours.mean(axis=0)
    for _ in range(20):
        colour = rng.uniform(15, 240, 3)
        if np.linalg.norm(colour - around) >= least:
            break
    return colour
