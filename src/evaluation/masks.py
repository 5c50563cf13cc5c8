"""Mask probabilities inside boxes to COCO run-length codes in original-image pixels.

Pasting follows mmdetection's FCNMaskHead (bilinear, pixel centres at + 0.5, zeros around the S x S values): pixel x
takes the value at S (x + 0.5 - x1) / (x2 - x1) - 0.5. Bilinear interpolation is separable, so a pasted mask is the
product columns x values x rows, computed only in the window where it can reach the threshold. The code comes from the
places where the thresholded windows change: no bitmap of the whole image is made, and all but two small products per
mask runs over many masks at once (benchmarks/mask_evaluation.py).
"""

from typing import TYPE_CHECKING

import numpy as np

from src.blocks.image_info import original_hw

if TYPE_CHECKING:
    from src.blocks.detections import Detections

PIXELS_AT_ONCE = 2**18  # of the windows of a group of masks: what is pasted is still in the cache when it is encoded


def encode_detections(
    detections: "Detections", image_info: np.ndarray, threshold: float
) -> list[list[dict | None]] | None:
    """Run-length codes of a batch of detections.

    Args:
        detections: numpy arrays; `masks` float32 [B, M, S, S] or None.
        image_info: float32 [B, 6], see `src.blocks.image_info`.
        threshold: see `encode_masks`.

    Returns:
        For each image M codes as of `encode_masks`, None where a row is not valid. None where there are no masks.
    """
    if detections.masks is None:
        return None
    codes = []
    for b, (height, width) in enumerate(original_hw(np.asarray(image_info)).astype(int).tolist()):
        own: list[dict | None] = [None] * len(detections.valid[b])
        rows = np.flatnonzero(detections.valid[b])
        found = encode_masks(detections.masks[b][rows], detections.boxes[b][rows], height, width, threshold)
        for row, code in zip(rows.tolist(), found, strict=True):
            own[row] = code
        codes.append(own)
    return codes


def encode_masks(
    probabilities: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float = 0.5
) -> list[dict]:
    """Paste masks into an image and encode them.

    Args:
        probabilities: float32 [M, S, S], 0..1, first row at the top of the box.
        boxes: [M, 4] xyxy in pixels of the image; what lies beyond the image is cut off.
        height: of the image in pixels.
        width: likewise.
        threshold: a pixel belongs to the mask from this probability on; above 0, at most 1.

    Returns:
        M dicts {"size": [height, width], "counts": str}, the strings that pycocotools writes. A box that is empty, not
        finite or outside of the image gives an empty mask.
    """
    values = np.asarray(probabilities, np.float32)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    windows = _windows(boxes, values.shape[-1], height, width, threshold)
    pixels = (windows[:, 2] - windows[:, 0]) * (windows[:, 3] - windows[:, 1])
    shown = np.flatnonzero(pixels)
    group = np.cumsum(pixels[shown]) // PIXELS_AT_ONCE
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for rows in np.split(shown, np.flatnonzero(np.diff(group)) + 1):
        if len(rows):
            owner, position = _changes(values[rows], boxes[rows], windows[rows], height, threshold)
            parts.append((rows[owner], position))
    owner, position = (np.concatenate(column) for column in zip(*parts, strict=True))
    strings = _strings(*_run_lengths(owner, position, len(values), height * width), len(values))
    return [{"size": [height, width], "counts": counts} for counts in strings]


def _windows(boxes: np.ndarray, size: int, height: int, width: int, threshold: float) -> np.ndarray:
    """int64 [M, 4], x0 y0 x1 y1 (x1, y1 not included): where a mask of ones would reach the threshold in the image."""
    sides = boxes[:, 2:] - boxes[:, :2]
    usable = np.isfinite(boxes).all(axis=1) & (sides > 0).all(axis=1)
    boxes, sides = np.where(usable[:, None], boxes, 0.0), np.where(usable[:, None], sides, 0.0)
    # A weight of at least the threshold lies between threshold - 1 and S - threshold in the mask's own cells.
    reach = (0.5 - threshold) * sides / size
    limit = np.array([width, height])
    first = np.clip(np.ceil(boxes[:, :2] - reach - 0.5 - 1e-6), 0, limit)
    last = np.clip(np.floor(boxes[:, 2:] + reach - 0.5 + 1e-6) + 1, first, limit)
    return np.concatenate([first, np.where(usable[:, None], last, first)], axis=1).astype(np.int64)


def _changes(
    values: np.ndarray, boxes: np.ndarray, windows: np.ndarray, height: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Paste masks (all with pixels) and find where they begin and end, going down the image's columns.

    Returns:
        (row of `values`, position = column x height + row of the image), int64 [T], ordered; a mask's positions are
        alternately the first pixel of a run and the first one after it.
    """
    columns = windows[:, 2] - windows[:, 0]
    # One more row, of zeros, ends every column, so that no run reaches into the next column of the window.
    rows = windows[:, 3] - windows[:, 1] + 1
    of_columns = _weights(boxes[:, 0], boxes[:, 2], windows[:, 0], columns, values.shape[-1])
    of_rows = _weights(boxes[:, 1], boxes[:, 3], windows[:, 1], rows, values.shape[-1])
    column_end, row_end, pixel_end = np.cumsum(columns), np.cumsum(rows), np.cumsum(columns * rows)
    of_rows[row_end - 1] = 0
    pasted = np.empty(pixel_end[-1] + 1, np.float32)
    pasted[0] = 0
    for m, (c, r, p) in enumerate(zip(column_end.tolist(), row_end.tolist(), pixel_end.tolist(), strict=True)):
        own_columns, own_rows = of_columns[c - columns[m] : c], of_rows[r - rows[m] : r]
        out = pasted[p - len(own_columns) * len(own_rows) + 1 : p + 1].reshape(len(own_columns), len(own_rows))
        np.matmul(own_columns @ values[m].T, own_rows.T, out=out)
    inside = pasted >= threshold
    change = np.flatnonzero(inside[1:] != inside[:-1])
    owner = np.searchsorted(pixel_end, change, side="right")
    column, row = np.divmod(change - (pixel_end - columns * rows)[owner], rows[owner])
    position = (windows[owner, 0] + column) * height + windows[owner, 1] + row
    # Windows as high as the image: a run that ends with one column and another that starts with the next are one.
    joined = (position[1:] == position[:-1]) & (owner[1:] == owner[:-1])
    kept = ~(np.r_[joined, False] | np.r_[False, joined])[: len(position)]
    return owner[kept], position[kept]


def _weights(low: np.ndarray, high: np.ndarray, first: np.ndarray, count: np.ndarray, size: int) -> np.ndarray:
    """Bilinear weights of the pixels first, first + 1, ... of each box, float32 [sum of count, size], box after box."""
    box = np.repeat(np.arange(len(count)), count)
    pixel = np.arange(len(box)) - (np.cumsum(count) - count)[box] + first[box]
    cell = (pixel + 0.5 - low[box]) * (size / (high - low))[box] - 0.5
    weights = np.subtract.outer(cell.astype(np.float32), np.arange(size, dtype=np.float32))
    np.abs(weights, out=weights)
    np.subtract(1, weights, out=weights)
    return np.maximum(weights, 0, out=weights)


def _run_lengths(owner: np.ndarray, position: np.ndarray, masks: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """(mask, length) of every run, alternately zeros and ones, mask after mask, int64 [N]."""
    every = np.arange(masks)
    owner = np.concatenate([every, owner, every])
    position = np.concatenate([np.zeros(masks, np.int64), position, np.full(masks, pixels)])
    order = np.argsort(owner, kind="stable")
    owner, position = owner[order], position[order]
    same = owner[1:] == owner[:-1]
    length = np.diff(position)
    # A run of zeros that starts at the end of the image is not written.
    kept = same & (position[:-1] < pixels)
    return owner[:-1][kept], length[kept]


def _strings(owner: np.ndarray, length: np.ndarray, masks: int) -> list[str]:
    """COCO's compressed strings (maskApi.c, rleToString).

    From the fourth run of a mask on the difference from the last but one run, in groups of five bits from the lowest,
    with a sixth bit while more follow, each + 48 as a character.
    """
    first = np.searchsorted(owner, np.arange(masks))
    place = np.arange(len(owner)) - first[owner]
    value = length.copy()
    value[2:] -= np.where(place[2:] > 2, length[:-2], 0)
    digits = np.ones(len(value), np.int64)
    for sign_bit in range(4, 60, 5):
        longer = (value >= 1 << sign_bit) | (value < -1 << sign_bit)
        if not longer.any():
            break
        digits += longer
    shift = np.arange(digits.max(initial=1))
    characters = ((value[:, None] >> (5 * shift)) & 31) + 32 * (shift < digits[:, None] - 1) + 48
    text = characters[shift < digits[:, None]].astype(np.uint8).tobytes().decode("ascii")
    ends = np.cumsum(np.bincount(owner, digits, minlength=masks).astype(np.int64)).tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
