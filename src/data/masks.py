"""Masks of objects on the host: COCO segmentations decoded to tight patches of pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from src.common.text import shown

POLYGON_STEPS = 5  # pycocotools rounds polygon points to fifths of a pixel
Segmentation = list[list[float]] | dict  # COCO's: polygons, each x1, y1, x2, y2, ...; or run lengths
FARTHEST_POINT = 1e5  # pixels; the time and memory that rasterising takes grow with the outline


class MaskError(ValueError):
    """A segmentation that cannot be decoded; the message says what is wrong with it."""


@dataclass(frozen=True)
class MaskPatch:
    """The part of an image that holds an object: everything outside of it is not the object.

    Attributes:
        pixels: uint8 [h, w], 1 where the object is; no border row or column is all 0. [0, 0] when the mask is empty.
        left, top: where the patch starts in the image, pixels.
    """

    pixels: np.ndarray
    left: int
    top: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the patch in pixels of the image."""
        height, width = self.pixels.shape
        return self.left, self.top, self.left + width, self.top + height

    @property
    def area(self) -> int:
        """Number of the object's pixels."""
        return cv2.countNonZero(self.pixels) if self.pixels.size else 0

    def bitmap(self, height: int, width: int) -> np.ndarray:
        """uint8 [height, width] of the whole image; what lies outside of it is cut off."""
        bitmap = np.zeros((height, width), np.uint8)
        left, top, right, bottom = self.box
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        if x1 < x2 and y1 < y2:
            bitmap[y1:y2, x1:x2] = self.pixels[y1 - top : y2 - top, x1 - left : x2 - left]
        return bitmap


def tight_patch(pixels: np.ndarray, left: int = 0, top: int = 0) -> MaskPatch:
    """The smallest patch around the ones of `pixels` (uint8 [h, w]), whose first pixel is at (left, top)."""
    x, y, width, height = cv2.boundingRect(pixels) if pixels.size else (0, 0, 0, 0)
    if width == 0:
        return MaskPatch(np.zeros((0, 0), np.uint8), 0, 0)
    return MaskPatch(np.ascontiguousarray(pixels[y : y + height, x : x + width]), left + x, top + y)


def decode_mask(segmentation: list | dict, height: int, width: int) -> MaskPatch:
    """Decode a COCO segmentation to exactly the pixels that pycocotools gives.

    Args:
        segmentation: list of polygons, each [x1, y1, x2, y2, ...] in pixels, or a dict with `size` and `counts`: run
            lengths down the columns, as a list, or compressed as pycocotools does.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        The patch, inside the image; empty when the segmentation covers no pixel.

    Raises:
        MaskError: not a segmentation of an image of this size.
    """
    if fault := segmentation_fault(segmentation, height, width):
        raise MaskError(fault)
    if isinstance(segmentation, dict):
        return _decode_runs(_checked_runs(segmentation["counts"], height, width), height)
    return _decode_polygons([polygon.reshape(-1, 2) for polygon in checked_polygons(segmentation)], height, width)


def run_length_code(segmentation: object, height: int, width: int) -> dict:
    """A COCO segmentation as a compressed run-length code, as pycocotools has it.

    Raises:
        MaskError: not a segmentation of an image of this size.
    """
    if fault := segmentation_fault(segmentation, height, width):
        raise MaskError(fault)
    if isinstance(segmentation, dict):
        _checked_runs(segmentation["counts"], height, width)
        is_list = isinstance(segmentation["counts"], list)
        return coco_mask.frPyObjects(segmentation, height, width) if is_list else segmentation
    polygons: list = segmentation  # type: ignore[assignment]  # as segmentation_fault says
    checked = checked_polygons(polygons)
    # pycocotools draws polygons of two points, too, but takes them for boxes where they come first.
    drawn = checked if len(checked) == len(polygons) or len(polygons[0]) < 6 else polygons
    runs = coco_mask.frPyObjects(drawn, height, width)
    return runs[0] if len(runs) == 1 else coco_mask.merge(runs)


def runs_of_window(pixels: np.ndarray, left: int, top: int, height: int, width: int) -> dict:
    """COCO's uncompressed run-length code of a mask that is given by a window of its image.

    Args:
        pixels: uint8 [h, w], 1 where the object is; the window lies inside the image.
        left: first column of the window.
        top: first row of the window.
        height: of the image in pixels.
        width: of the image in pixels.
    """
    columns = np.pad(pixels.T.astype(np.int8), ((0, 0), (1, 1)))
    steps = np.diff(columns, axis=1)
    flat = (np.arange(len(columns)) + left)[:, None] * height + top + np.arange(steps.shape[1])
    changes = np.stack([flat[steps == 1], flat[steps == -1]], axis=1).ravel()
    # A run that ends at the foot of a column goes on where the next column begins with one.
    joined = np.flatnonzero(changes[1:-1:2] == changes[2::2])
    changes = np.delete(changes, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    counts = np.diff(changes, prepend=0, append=height * width).tolist()
    return {"size": [height, width], "counts": counts if counts[-1] else counts[:-1]}


def segmentation_fault(segmentation: object, height: int, width: int) -> str | None:
    """What can be seen to be wrong with a segmentation without decoding it; None: nothing."""
    if isinstance(segmentation, dict):
        size = segmentation.get("size")
        if not isinstance(size, list | tuple) or list(size) != [height, width]:
            return f"its RLE has size {shown(segmentation.get('size'))}, the image is {[height, width]} (height, width)"
        counts = segmentation.get("counts")
        return None if counts and isinstance(counts, str | bytes | list) else "its RLE has no counts"
    if not isinstance(segmentation, list) or not segmentation:
        return "it has no segmentation"
    if not all(isinstance(polygon, list | np.ndarray) for polygon in segmentation):
        return "its segmentation is neither an RLE nor a list of polygons"
    if any(len(polygon) % 2 for polygon in segmentation):
        return "a polygon of it has an odd number of coordinates"
    if max(len(polygon) for polygon in segmentation) < 6:
        return "its polygons have fewer than three points"
    return None


def checked_polygons(polygons: list) -> list[np.ndarray]:
    """Coordinates float64 [2 n] of each polygon that has at least three points. Raises MaskError."""
    try:
        flat = [np.asarray(polygon, np.float64) for polygon in polygons if len(polygon) >= 6]
    except (TypeError, ValueError, OverflowError):
        raise MaskError("a polygon of it holds something other than numbers") from None
    for polygon in flat:
        if polygon.ndim != 1:
            raise MaskError("a polygon of it is no plain list of numbers")
        # The norm bounds every coordinate, in a tenth of the time. NaN compares false.
        if not polygon @ polygon < FARTHEST_POINT**2 and not (farthest := np.abs(polygon).max()) < FARTHEST_POINT:
            raise MaskError(f"a polygon of it has a coordinate of size {farthest:g}, far outside of the image")
    return flat


def _decode_polygons(points: list[np.ndarray], height: int, width: int) -> MaskPatch:
    """Rasterise in the window of the polygons only: an object is mostly much smaller than its image."""
    every = np.concatenate(points)
    low, high = every.min(axis=0), every.max(axis=0)
    start = np.maximum(np.floor(low), 0).astype(int)
    stop = np.minimum(np.ceil(high).astype(int) + 1, (width, height))
    if (stop <= start).any():
        return MaskPatch(np.zeros((0, 0), np.uint8), 0, 0)
    moved = [_moved(polygon, start).ravel() for polygon in points]
    runs = coco_mask.frPyObjects(moved, *(stop - start)[::-1].tolist())
    pixels = coco_mask.decode(runs[0] if len(runs) == 1 else coco_mask.merge(runs))
    return tight_patch(np.ascontiguousarray(pixels), *start.tolist())


def _moved(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Points float64 [n, 2] relative to `start`, such that pycocotools rounds them as it would have in the image.

    It takes trunc(5 x + 0.5); doing so before the subtraction keeps ties (x = 12.1, 12.3, ...) on their side.
    """
    steps = np.trunc(POLYGON_STEPS * points + 0.5)
    return np.where(start > 0, (steps - POLYGON_STEPS * start) / POLYGON_STEPS, points)


def _run_lengths(counts: str | bytes | Sequence[int]) -> np.ndarray:
    """int64 [n] run lengths of a compressed or uncompressed RLE."""
    if isinstance(counts, str | bytes):
        return _decompressed(counts.encode("utf-8", "replace") if isinstance(counts, str) else counts)
    try:
        lengths = np.asarray(counts)
    except (ValueError, OverflowError):
        lengths = np.zeros(0)
    if lengths.ndim != 1 or not np.issubdtype(lengths.dtype, np.integer):
        raise MaskError("the counts of its RLE are not whole numbers")
    return lengths.astype(np.int64)


def _checked_runs(counts: str | bytes | Sequence[int], height: int, width: int) -> np.ndarray:
    """int64 [n] run lengths that cover the image. Raises MaskError."""
    lengths = _run_lengths(counts)
    pixels = height * width
    if lengths.min() < 0 or lengths.max() > pixels:
        raise MaskError(f"one of the runs of its RLE has {lengths[(lengths < 0) | (lengths > pixels)][0]} pixels")
    if lengths.sum() != pixels:
        raise MaskError(f"the runs of its RLE end after {lengths.sum()} pixels, the image has {pixels}")
    return lengths


def _decompressed(text: bytes) -> np.ndarray:
    """Run lengths of COCO's compressed RLE.

    Each character holds 5 bits of a number, least first, above 48; bit 5 says that more follow, and bit 4 of the last
    is the sign. From the fourth on, numbers are differences to the run length before the previous one.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero(digits & 32 == 0)
    if digits.min() < 0 or digits.max() > 63 or len(last) == 0 or last[-1] != len(digits) - 1:
        raise MaskError("the counts of its RLE are not a compressed RLE")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last + 1 - first
    if lengths.max() > 12:
        raise MaskError("the counts of its RLE are not a compressed RLE")
    place = 5 * (np.arange(len(digits)) - np.repeat(first, lengths))
    numbers = np.add.reduceat((digits & 31) << place, first)
    numbers -= np.where(digits[last] & 16, np.int64(1) << (5 * lengths), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _decode_runs(lengths: np.ndarray, height: int) -> MaskPatch:
    """Only the columns that hold the object are written out."""
    ends = np.cumsum(lengths)
    ones = np.flatnonzero(lengths[1::2]) * 2 + 1
    if len(ones) == 0:
        return MaskPatch(np.zeros((0, 0), np.uint8), 0, 0)
    left = int(ends[ones[0] - 1]) // height
    right = (int(ends[ones[-1]]) - 1) // height + 1
    inside = np.diff(np.clip(ends, left * height, right * height), prepend=left * height)
    values = np.arange(len(lengths), dtype=np.uint8) & 1
    columns = tight_patch(np.repeat(values, inside).reshape(right - left, height), 0, left)
    return MaskPatch(np.ascontiguousarray(columns.pixels.T), columns.top, columns.left)
