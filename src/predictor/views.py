"""The views of a picture that a detector looks at: tiles of large pictures, and flips and scales at test time.

A network takes inputs of one size. So a scale is a window: one of half the picture's sides, resized to the network's
input, shows objects at twice their size, and one larger than the picture, filled up, shows them smaller. Tiles are
windows as well, so that both come to the same: cut out, predict, take what was found back to the picture, merge.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from src.schema import Config

EDGE = 0.01  # an object that comes so near to a window's edge, in sides of the window, may be cut off there


class Found(NamedTuple):
    """The objects found in a picture or in a view of it.

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels.
        scores: float32 [N].
        labels: int32 [N], 0..K-1.
        masks: float32 [N, S, S], probabilities inside the boxes; None: the detector has none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def take(self, rows: np.ndarray | tuple) -> "Found":
        """Those at these places of the first axis, or of the first axes."""
        masks = None if self.masks is None else self.masks[rows]
        return Found(self.boxes[rows], self.scores[rows], self.labels[rows], masks)


class ViewOptions(NamedTuple):
    """Which views of each picture there are, and how what was found in them is merged.

    Attributes:
        tile: side of the tiles in pixels of the picture; 0: none.
        overlap: of neighbouring windows, in sides of a window.
        flip: see each window mirrored as well.
        scales: factors on the size of objects, beside 1.
        merge: nms: the best of several boxes of an object; wbf: their average, weighted by score.
        merge_iou: boxes of a class with a larger IoU are of one object.
        fill: red, green and blue of what a window shows beyond the picture.
    """

    tile: int = 0
    overlap: float = 0.2
    flip: bool = False
    scales: tuple[float, ...] = ()
    merge: Literal["nms", "wbf"] = "nms"
    merge_iou: float = 0.5
    fill: tuple[int, ...] = (0, 0, 0)

    @classmethod
    def of(cls, config: Config, mean: Sequence[float], to_rgb: bool) -> "ViewOptions":
        """Those of a configuration; `mean` of the network's channels, which are RGB or BGR."""
        scales = tuple(one for one in config.tta if one != "flip")
        fill = tuple(min(max(round(value), 0), 255) for value in (mean if to_rgb else mean[::-1]))
        return cls(config.tile, config.overlap, "flip" in config.tta, scales, config.merge, config.merge_iou, fill)

    @property
    def several(self) -> bool:
        """Whether a picture may have more than one view."""
        return bool(self.tile or self.flip or self.scales)


ONE_VIEW = ViewOptions()


class View(NamedTuple):
    """A window of a picture, which may reach beyond its right and lower edge.

    Attributes:
        x, y, width, height: of the window in pixels of the picture.
        flipped: seen mirrored, left and right exchanged.
        least_side: objects with no side above it are left to the other views, pixels; 0: it shows all objects.
    """

    x: int
    y: int
    width: int
    height: int
    flipped: bool = False
    least_side: int = 0


def plan_views(height: int, width: int, options: ViewOptions) -> list[View]:
    """The views of a picture of this size, each once.

    A picture larger than a tile is seen as a whole too, for objects larger than the overlap: smaller ones are whole in
    a tile.
    """
    windows = [window for scale in (1.0, *options.scales) for window in _windows(height, width, scale, options)]
    if options.tile and max(height, width) > options.tile:
        windows.append(View(0, 0, width, height, least_side=max(round(options.overlap * options.tile), 1)))
    flips = (False, True) if options.flip else (False,)
    return list(dict.fromkeys(window._replace(flipped=flipped) for window in windows for flipped in flips))


def _windows(height: int, width: int, scale: float, options: ViewOptions) -> list[View]:
    if options.tile:
        side = max(round(options.tile / scale), 1)
        high, wide = min(side, height), min(side, width)
    else:
        high, wide = (max(round(length / scale), 1) for length in (height, width))
    tops, lefts = _starts(height, high, options.overlap), _starts(width, wide, options.overlap)
    return [View(left, top, wide, high) for top in tops for left in lefts]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Where windows of a side begin that cover a length, spread evenly, with at least this overlap."""
    if side >= length:
        return [0]
    steps = math.ceil((length - side) / max(side * (1 - overlap), 1))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def cut_out(image: np.ndarray, view: View, fill: Sequence[int]) -> np.ndarray:
    """The pixels that a view shows: uint8 [height, width, 3] of uint8 [H, W, 3]."""
    seen = image[view.y : view.y + view.height, view.x : view.x + view.width]
    if seen.shape[:2] != (view.height, view.width):
        canvas = np.empty((view.height, view.width, 3), np.uint8)
        canvas[:] = fill
        canvas[: seen.shape[0], : seen.shape[1]] = seen
        seen = canvas
    return np.ascontiguousarray(seen[:, ::-1] if view.flipped else seen)


def in_picture(found: Found, view: View, height: int, width: int) -> tuple[Found, np.ndarray]:
    """What was found in a view, in pixels of the picture, without objects beyond it and those left to other views.

    Returns:
        (objects, bool [N]: which of them may be cut off at an edge of the window that is not the picture's).
    """
    boxes, masks = found.boxes, found.masks
    if view.flipped:
        boxes = np.stack([view.width - boxes[:, 2], boxes[:, 1], view.width - boxes[:, 0], boxes[:, 3]], axis=1)
        masks = None if masks is None else masks[..., ::-1]
    boxes = boxes + np.array([view.x, view.y, view.x, view.y], np.float32)
    ends = view.x + view.width, view.y + view.height
    near_x, near_y = max(EDGE * view.width, 1), max(EDGE * view.height, 1)
    cut = (boxes[:, 0] <= view.x + near_x) & (view.x > 0)
    cut |= (boxes[:, 1] <= view.y + near_y) & (view.y > 0)
    cut |= (boxes[:, 2] >= ends[0] - near_x) & (ends[0] < width)
    cut |= (boxes[:, 3] >= ends[1] - near_y) & (ends[1] < height)
    counted = (boxes[:, 0] + boxes[:, 2] < 2 * width) & (boxes[:, 1] + boxes[:, 3] < 2 * height)
    if view.least_side:
        counted &= (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) > view.least_side
    return Found(boxes, found.scores, found.labels, masks).take(counted), cut[counted]
