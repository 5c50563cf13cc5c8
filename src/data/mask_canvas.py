"""Compact ground truth masks: each object's coverage of the pixels around its box, on a canvas of fixed size.

Full-size masks of 100 objects at 1024 x 1024 are 100 MB as bytes; their canvases of 128 x 128 are 1.6 MB. A canvas
holds an object of up to `size` * `divider` pixels at exact resolution / `divider`; a larger one is averaged over areas,
as the 28 x 28 targets of a mask head are anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from src.data.masks import MaskPatch
from src.data.orientation import oriented
from src.data.sample import Mapping, Sample, choose_targets


def holds_whole_bitmaps(size: int, input_hw: tuple[int, int]) -> bool:
    """Whether canvases of `size` are as large as the network's input: then masks are bitmaps of the whole input."""
    return size >= max(input_hw)


def mask_windows(boxes: np.ndarray, size: int, divider: int, input_hw: tuple[int, int]) -> np.ndarray:
    """The part of the network's input that each object's canvas covers.

    Args:
        boxes: float [G, 4], xyxy in network pixels.
        size: side of the canvas in its own pixels.
        divider: an object's window is at least `size` * `divider` network pixels wide and high.
        input_hw: height and width of the padded network input.

    Returns:
        int64 [G, 4]: x0, y0, width, height in network pixels: the box with a margin of one pixel, extended to the right
        and below (possibly beyond the input); the whole input when masks are whole bitmaps.
    """
    if holds_whole_bitmaps(size, input_hw):
        return np.tile(np.array([0, 0, input_hw[1], input_hw[0]], np.int64), (len(boxes), 1))
    start = np.maximum(np.floor(boxes[:, :2]).astype(np.int64) - 1, 0)
    sides = np.maximum(np.ceil(boxes[:, 2:]).astype(np.int64) + 1 - start, size * divider)
    return np.concatenate([start, sides], axis=1)


def mask_canvases(
    patches: Sequence[MaskPatch],
    boxes: np.ndarray,
    mapping: Mapping,
    input_hw: tuple[int, int],
    size: int,
    divider: int,
    image_hw: tuple[int, int] | None = None,
) -> np.ndarray:
    """Draw each object on its canvas (see `mask_windows`).

    A canvas pixel is the mean of the mask over that pixel where the mask is reduced, bilinear interpolation between
    pixel centres where it is enlarged, and a copy where scale and position agree. All of them are means of the original
    pixels over a box: of the size of the canvas pixel, but at least one original pixel.

    Args:
        patches: G masks in pixels of the original image.
        boxes: float32 [G, 4], the final boxes in network pixels.
        mapping: of original to network pixels.
        input_hw: height and width of the padded network input; canvas pixels beyond it repeat its last ones.
        size: see `mask_windows`.
        divider: see `mask_windows`.
        image_hw: height and width of the image inside of the input, what lies beyond is 0; None: it fills the input.

    Returns:
        uint8 [G, size, size], coverage 0..255; [G, *input_hw] when masks are whole bitmaps.
    """
    shape = input_hw if holds_whole_bitmaps(size, input_hw) else (size, size)
    canvases = np.zeros((len(patches), *shape), np.uint8)
    if not len(patches):
        return canvases
    windows = mask_windows(boxes, size, divider, input_hw)
    limits = image_hw or input_hw
    scale_x, offset_x, scale_y, offset_y = mapping
    bounds = np.array([patch.box for patch in patches])
    columns = _sample_axis(bounds[:, 0::2], windows[:, 0::2], scale_x, offset_x, shape[1], limits[1])
    rows = _sample_axis(bounds[:, 1::2], windows[:, 1::2], scale_y, offset_y, shape[0], limits[0])
    for index, patch in enumerate(patches):
        across, down = slice(*columns.span[index]), slice(*rows.span[index])
        if across.start < across.stop and down.start < down.stop:
            canvases[index, down, across] = _coverage(patch.pixels, rows, columns, index, down, across)
    _repeat_last(canvases, windows, input_hw)
    return canvases


@dataclass
class _AxisSamples:
    """For canvas pixels [G, n] of one axis: the interval of patch pixels that each of them averages over.

    Attributes:
        pixel: int64 [G, 2, n], the pixels in which the interval starts and ends.
        part: float64 [G, 2, n, 1], how much of these pixels lies before the start and before the end.
        weight: float64 [G, n, 1], 1 / length of the interval.
        span: int [G, 2], the first canvas pixel whose interval meets the patch, and the first one after these.
        exact: whether each interval is exactly one pixel.
    """

    pixel: np.ndarray
    part: np.ndarray
    weight: np.ndarray
    span: np.ndarray
    exact: bool


def _sample_axis(
    bounds: np.ndarray, windows: np.ndarray, scale: float, offset: float, count: int, limit: int
) -> _AxisSamples:
    """Intervals along one axis.

    Args:
        bounds: int [G, 2], first patch pixel and the one after its last, in original pixels.
        windows: int [G, 2], start and length in network pixels.
        scale: network = scale * original + offset.
        offset: see `scale`.
        count: canvas pixels.
        limit: where the image ends, network pixels.
    """
    step = windows[:, 1:] / count
    center = (np.arange(count) + 0.5) * step + windows[:, :1]
    radius = np.maximum(step / abs(scale), 1.0) / 2
    source = (center - offset) / scale
    first, last = sorted(((0 - offset) / scale, (limit - offset) / scale))
    low, high = np.maximum(source - radius, first), np.minimum(source + radius, last)
    weight = 1 / np.maximum(high - low, 1e-9)
    sizes = (bounds[:, 1] - bounds[:, 0])[:, None, None]
    ends = np.clip(np.stack([low, high], axis=1) - bounds[:, :1, None], 0, sizes)
    meets = (ends[:, 1] > ends[:, 0]) & (center < limit)
    begin = meets.argmax(axis=1)
    pixel = np.minimum(ends.astype(np.int64), sizes - 1)
    return _AxisSamples(
        pixel=pixel,
        part=(ends - pixel)[..., None],
        weight=weight[..., None],
        span=np.stack([begin, begin + meets.sum(axis=1)], axis=1),
        exact=abs(scale) == 1 and float(offset).is_integer() and bool((step == 1).all()),
    )


def _coverage(
    pixels: np.ndarray, rows: _AxisSamples, columns: _AxisSamples, index: int, down: slice, across: slice
) -> np.ndarray:
    """uint8 means of `pixels` over the boxes of canvas pixels [down, across] of object `index`."""
    if rows.exact and columns.exact:
        return pixels[np.ix_(rows.pixel[index, 0, down], columns.pixel[index, 0, across])] * np.uint8(255)
    sums = cv2.integral(pixels, sdepth=cv2.CV_64F)  # [h + 1, w + 1]; between its points, linear along each axis
    sums = _means(sums, rows, index, down)
    return cv2.convertScaleAbs(_means(np.ascontiguousarray(sums.T), columns, index, across).T, alpha=255.0)


def _means(sums: np.ndarray, axis: _AxisSamples, index: int, span: slice) -> np.ndarray:
    """float64 [n, k]: means over each interval along the first axis, of sums [size + 1, k] up to each pixel."""
    pixel = axis.pixel[index, :, span]
    before = sums[pixel]
    at_ends = before + (sums[pixel + 1] - before) * axis.part[index, :, span]
    return (at_ends[1] - at_ends[0]) * axis.weight[index, span]


def _repeat_last(canvases: np.ndarray, windows: np.ndarray, input_hw: tuple[int, int]) -> None:
    """Where a window reaches beyond the network's input, repeat the last row and column inside of it."""
    height, width = canvases.shape[1:]
    ends = windows[:, :2] + windows[:, 2:]
    for index in np.flatnonzero((ends > np.array(input_hw[::-1])).any(axis=1)):
        x0, y0, window_width, window_height = windows[index]
        columns = _inside(input_hw[1] - x0, window_width, width)
        rows = _inside(input_hw[0] - y0, window_height, height)
        canvases[index, :, columns:] = canvases[index, :, columns - 1 : columns]
        canvases[index, rows:] = canvases[index, rows - 1 : rows]


def _inside(available: int, length: int, count: int) -> int:
    """How many of `count` pixels that share `length` have their centre within the first `available`; at least one."""
    return int(np.clip(np.ceil(available * count / length - 0.5), 1, count))


def paste_canvas(canvas: np.ndarray, box: np.ndarray, divider: int, input_hw: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W]: an object's coverage 0..255 of the network input's pixels, from its canvas (uint8 [S, S])."""
    if canvas.shape == tuple(input_hw):
        return canvas
    left, top, width, height = mask_windows(box[None], len(canvas), divider, input_hw)[0].tolist()
    window = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_LINEAR)
    pasted = np.zeros(input_hw, np.uint8)
    pasted[top : top + height, left : left + width] = window[: input_hw[0] - top, : input_hw[1] - left]
    return pasted


class DrawMasks:
    """Last transform of a mask model's training samples: keep the targets, and replace their masks by canvases.

    The sample gets `canvases`, uint8 [G, S, S] (see `mask_canvases`), and its `masks` become None.

    Args:
        num_gts: of more objects the largest are kept.
        input_hw: height and width of the padded network input; exchanged for a sample whose frame is turned.
        size: see `mask_windows`.
        divider: see `mask_windows`.
    """

    def __init__(self, num_gts: int, input_hw: tuple[int, int], size: int, divider: int = 1) -> None:
        self.num_gts = num_gts
        self.input_hw = input_hw
        self.size = size
        self.divider = divider

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with canvases. Raises ValueError for one whose masks were not read."""
        del rng  # nothing is random here
        if sample.masks is None:
            raise ValueError("masks are to be drawn and were not read")
        chosen = choose_targets(sample.boxes, sample.crowd, self.num_gts)
        canvases = mask_canvases(
            [sample.masks[index] for index in chosen],
            sample.boxes[chosen],
            sample.mapping,
            oriented(self.input_hw, sample.turned),
            self.size,
            self.divider,
            sample.image_hw,
        )
        return replace(
            sample,
            boxes=sample.boxes[chosen],
            labels=sample.labels[chosen],
            crowd=sample.crowd[chosen],
            masks=None,
            canvases=canvases,
        )
