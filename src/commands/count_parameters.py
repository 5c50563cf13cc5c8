"""Parameters and multiply-accumulate operations of a detector, part by part."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from mindspore import Tensor

from src.blocks.backbones.spinenet import Resample
from src.models.counting import macs_of_layers, parameters_of_layers
from src.models.table import build_detector, spec_of
from src.schema import Config

# Networks whose sides are multiples of it grow exactly with the area: their operations are counted on a small input.
LARGEST_STRIDE = 128


@dataclass
class Summary:
    """Sizes of a detector.

    Attributes:
        parameters: learned values of each part.
        macs: multiply-accumulate operations of each part for one image.
        repeated_macs: what publications count in addition: SpineNet's 1x1 convolutions before an upsampling, which
            they apply after it, to repeated pixels.
        input_hw: height and width of the network's input in pixels.
        num_rois, num_masks: regions that the box and mask heads were counted for; 0: there are no such heads.
    """

    parameters: dict[str, int]
    macs: dict[str, int]
    repeated_macs: int
    input_hw: tuple[int, int]
    num_rois: int = 0
    num_masks: int = 0


def summarise(config: Config) -> Summary:
    """Count a configuration's detector; PYNATIVE mode must be set.

    Convolutions and fully connected layers count, and nothing else, as is the custom. The heads of two-stage detectors
    are counted for as many proposals and detections as the configuration keeps at most.
    """
    net = build_detector(config).set_train(False)
    height, width = config.input_hw
    shrink = _shrink(height, width)
    images = Tensor(np.zeros((1, 3, height // shrink, width // shrink), np.float32))
    macs = macs_of_layers(net, lambda: net.dense_outputs(images))
    macs = {name: count * shrink**2 for name, count in macs.items()}
    repeated = sum(
        (cell.factor**2 - 1) * count
        for name, cell in net.cells_and_names()
        if isinstance(cell, Resample)
        for layer, count in macs.items()
        if layer.startswith(f"{name}.expand_conv.")
    )
    regions = {}
    if (region_counts := spec_of(config).region_counts) is not None:
        counted = region_counts(net, config)
        macs |= counted.macs
        regions = {"num_rois": counted.num_rois, "num_masks": counted.num_masks}
    return Summary(_by_part(parameters_of_layers(net)), _by_part(macs), repeated, (height, width), **regions)


def summary_table(summary: Summary) -> str:
    """A line per part and one for all; where publications count otherwise, a last line says so."""
    rows = {name: (summary.parameters.get(name, 0), summary.macs.get(name, 0)) for name in summary.parameters}
    rows["all"] = (sum(summary.parameters.values()), sum(summary.macs.values()))
    width = max(map(len, rows))
    height, columns = summary.input_hw
    regions = f", {summary.num_rois} proposals, {summary.num_masks} masks" if summary.num_rois else ""
    lines = [f"input {columns} x {height}{regions}", f" {'part':<{width}}  parameters (M)  MACs (G)"]
    lines += [f" {name:<{width}}  {count / 1e6:>14.3f}  {macs / 1e9:>8.1f}" for name, (count, macs) in rows.items()]
    if summary.repeated_macs:
        published = (rows["all"][1] + summary.repeated_macs) / 1e9
        lines.append(f" with SpineNet's 1x1 convolutions after upsampling, as published: {published:.1f} G MACs")
    return "\n".join(lines)


def _shrink(height: int, width: int) -> int:
    """The greatest number by which both sides can be divided so that multiples of LARGEST_STRIDE remain; at least 1."""
    fits = (k for k in range(height // LARGEST_STRIDE, 1, -1) if not (height % (k * LARGEST_STRIDE)))
    return next((k for k in fits if width % (k * LARGEST_STRIDE) == 0), 1)


def _by_part(counts: dict[str, int]) -> dict[str, int]:
    """Sums by the first word of a name; the heads of regions by their first two."""
    parts: Counter[str] = Counter()
    for name, count in counts.items():
        words = name.split(".")
        parts[".".join(words[: 2 if words[0] == "roi_head" else 1])] += count
    return dict(parts)
