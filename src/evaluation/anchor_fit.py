"""How well anchors fit the objects of a data set: which level they belong to, and the best recall that is possible.

All in pixels of the network's input: boxes are resized as the images are (without jitter), anchors are those of the
configuration's input size. An object's best anchor is the one with the greatest IoU; the share of objects whose best
anchor reaches an IoU is the best recall that proposals right at the anchors could have there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from src.blocks.anchor_generator import AnchorGenerator
from src.data.orientation import lies_across, oriented
from src.data.record import Record
from src.data.transforms import resized_hw
from src.models.anchors import anchor_section, build_anchor_generator, positive_iou
from src.schema import Config

IOU_POINTS = np.linspace(0.3, 0.95, 66)
SCALE_FACTORS = (0.25, 1 / 3, 0.375, 0.5, 0.625, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
MOST_TRIED_ON = 20_000  # objects that other anchors are tried on
LEAST_STEP = 1.2  # from one suggested ratio to the next
LEAST_GAIN = 0.01  # of recall or mean IoU, for a suggestion


@dataclass
class AnchorFit:
    """Fit of one set of anchors.

    Attributes:
        overlaps: float64 [G, L], IoU of each object with its best anchor of each level.
        threshold: IoU that makes an anchor positive.
    """

    overlaps: np.ndarray
    threshold: float

    @property
    def best(self) -> np.ndarray:
        """float64 [G], IoU of each object with its best anchor."""
        return self.overlaps.max(axis=1)

    @property
    def objects_per_level(self) -> np.ndarray:
        """int64 [L], objects whose best anchor lies on the level (the finest of several)."""
        return np.bincount(self.overlaps.argmax(axis=1), minlength=self.overlaps.shape[1])

    def recall(self, iou: float | np.ndarray) -> np.ndarray:
        """Share of the objects whose best anchor has at least this IoU."""
        return (self.best[:, None] >= np.atleast_1d(iou) - 1e-9).mean(axis=0)

    @property
    def quality(self) -> tuple[float, float]:
        """Recall at the threshold, to three digits, and the mean IoU with the best anchor."""
        return round(float(self.recall(self.threshold)[0]), 3), float(self.best.mean())


class NetworkObjects(NamedTuple):
    """Objects of a data set in pixels of the network's input.

    Attributes:
        boxes: float64 [G, 4], x1 y1 x2 y2.
        input_hw: int64 [G, 2], height and width of the input that each lies in.
    """

    boxes: np.ndarray
    input_hw: np.ndarray

    def take(self, rows: np.ndarray) -> "NetworkObjects":
        """Some of them."""
        return NetworkObjects(self.boxes[rows], self.input_hw[rows])


def objects_in_network_pixels(records: Sequence[Record], config: Config) -> NetworkObjects:
    """All training targets (no crowds), resized as the configuration says."""
    boxes, shapes = [np.zeros((0, 4))], [np.zeros((0, 2), np.int64)]
    for record in records:
        turned = lies_across((record.height, record.width), config.turning_hw)
        target = oriented((config.img_height, config.img_width), turned)
        height, width = resized_hw(record.height, record.width, target, config.keep_ratio)
        x, y = width / record.width, height / record.height
        boxes.append(record.boxes[~record.crowd].astype(np.float64) * (x, y, x, y))
        shapes.append(np.tile(oriented(config.input_hw, turned), (len(boxes[-1]), 1)))
    return NetworkObjects(np.concatenate(boxes), np.concatenate(shapes))


def fit_of(config: Config, objects: NetworkObjects, **changes: Any) -> AnchorFit:
    """The fit of the configuration's anchors, or of these with some keys of their section changed."""
    generator = build_anchor_generator(config, **changes)
    most = config.input_hw if getattr(anchor_section(config), "clip", False) else None
    return AnchorFit(best_overlaps(generator, objects.input_hw, objects.boxes, most), positive_iou(config))


def best_overlaps(
    generator: AnchorGenerator,
    input_hw: tuple[int, int] | np.ndarray,
    boxes: np.ndarray,
    most_hw: tuple[int, int] | None = None,
) -> np.ndarray:
    """IoU of each box with its best anchor of each level.

    The IoU grows with the overlaps along x and along y, which do not depend on each other, and each is greatest at the
    grid point nearest to the box: so only that one is looked at.

    Args:
        generator: the anchors.
        input_hw: height and width of the network's input, for all boxes or [G, 2].
        boxes: float64 [G, 4], x1 y1 x2 y2.
        most_hw: anchors are not higher or wider than this; None: no limit.

    Returns:
        float64 [G, L].
    """
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None]
    shapes = np.broadcast_to(np.array(input_hw), (len(boxes), 2))
    result = []
    for stride, base in zip(generator.strides, generator.base_anchors, strict=True):
        center, sides = (base[:, :2] + base[:, 2:]).astype(np.float64) / 2, (base[:, 2:] - base[:, :2]).astype(float)
        if most_hw is not None:
            sides = np.minimum(sides, most_hw[::-1])
        overlap = 1.0
        for axis in (0, 1):
            count = -(-shapes[:, 1 - axis, None] // stride)
            low, high = boxes[:, axis, None], boxes[:, axis + 2, None]
            cell = np.clip(np.round(((low + high) / 2 - center[:, axis]) / stride), 0, count - 1)
            middle, half = cell * stride + center[:, axis], sides[:, axis] / 2
            overlap = overlap * np.clip(np.minimum(middle + half, high) - np.maximum(middle - half, low), 0, None)
        iou = overlap / (area + np.prod(sides, axis=1) - overlap)
        result.append(iou.max(axis=1))
    return np.stack(result, axis=1)


def suggest(config: Config, objects: NetworkObjects) -> tuple[dict[str, Any], AnchorFit, int]:
    """Try other scales and ratios.

    Scales are those of the configuration times SCALE_FACTORS; ratios are its own, or the objects' quantiles.

    Returns:
        The changed keys of the anchor section with the best fit (none: the configuration's own anchors are about as
        good), the fit of these on all objects, and the number of sets that were tried.
    """
    section = anchor_section(config)
    sample = objects.take(np.random.default_rng(0).permutation(len(objects.boxes))[:MOST_TRIED_ON])
    tried = []
    for ratios in (section.ratios, _ratios_of(objects.boxes, len(section.ratios))):
        for factor in SCALE_FACTORS:
            changes = {**_scaled(section, factor), "ratios": ratios}
            tried.append((fit_of(config, sample, **changes).quality, changes))
    own = fit_of(config, sample).quality
    quality, changes = max(tried, key=lambda item: item[0])
    if max(quality[0] - own[0], quality[1] - own[1]) < LEAST_GAIN:
        return {}, fit_of(config, objects), len(tried)
    changes = {name: value for name, value in changes.items() if value != getattr(section, name)}
    return changes, fit_of(config, objects, **changes), len(tried)


def _scaled(section: Any, factor: float) -> dict:
    if hasattr(section, "octave_base_scale"):
        return {"octave_base_scale": _short(section.octave_base_scale * factor)}
    return {"scales": [_short(scale * factor) for scale in section.scales]}


def _ratios_of(boxes: np.ndarray, count: int) -> list[float]:
    """Up to `count` quantiles of height / width, the middles of equal parts; fewer where they would be alike."""
    sides = boxes[:, 2:] - boxes[:, :2]
    while True:
        ratios = np.quantile(sides[:, 1] / sides[:, 0], (np.arange(count) + 0.5) / count)
        if count == 1 or (ratios[1:] >= LEAST_STEP * ratios[:-1]).all():
            return [_short(value) for value in ratios]
        count -= 1


def _short(value: float) -> float:
    """The value with at most three significant digits."""
    return float(f"{value:.3g}")
