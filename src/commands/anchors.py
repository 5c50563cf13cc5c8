"""Anchors against the objects of a data set, as a table and a picture: the work of tools/anchor_statistics.py."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.common.errors import UserError
from src.data.open_dataset import open_dataset
from src.evaluation.anchor_fit import IOU_POINTS, AnchorFit, fit_of, objects_in_network_pixels, suggest
from src.models.anchors import anchor_section, anchor_spec, build_anchor_generator
from src.schema import Config
from src.visual.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_POINTS = 2000  # objects in the picture
SHOWN_IOU = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)


def report_anchors(config: Config, picture: str | Path) -> dict:
    """Print how the configuration's anchors fit its training data, draw it, and say what would fit better.

    Returns:
        The suggested changes: dotted configuration keys and their values; empty where none is better.

    Raises:
        UserError: the data set cannot be read, or has no object.
    """
    dataset = open_dataset(config, training=True)
    objects = objects_in_network_pixels(dataset.records, config)
    boxes = objects.boxes
    if not len(boxes):
        raise UserError(f"{dataset.annotation_file}: no object to compare anchors with")
    prefix = anchor_spec(config).section
    section = anchor_section(config)
    fit = fit_of(config, objects)
    changes, better, tried = suggest(config, objects)
    most = max(np.count_nonzero(~record.crowd) for record in dataset.records)
    inputs = " or ".join(f"{width} x {height}" for height, width in config.input_shapes)
    print(
        f"{len(boxes)} objects in {len(dataset.records)} images, resized for the input of {inputs}; "
        f"at most {most} objects per image (num_gts: {config.num_gts})\n\n{_level_table(config, section, fit)}\n"
    )
    fits = {"this configuration": fit} | ({"suggestion": better} if changes else {})
    print(_recall_table(fits))
    suggestion = {f"{prefix}.{name}": value for name, value in changes.items()}
    if suggestion:
        words = " ".join(f'--{name} "{value}"' for name, value in suggestion.items())
        print(f"\nbest of {tried} sets of anchors tried: {words}")
    else:
        print(f"\nnone of {tried} other sets of anchors is clearly better")
    _draw(picture, config, section, boxes, fits)
    print(picture)
    return suggestion


def _sides(config: Config) -> list[np.ndarray]:
    """Width and height float32 [A, 2] of the anchors of each level."""
    generator = build_anchor_generator(config)
    return [base[:, 2:] - base[:, :2] for base in generator.base_anchors]


def _level_table(config: Config, section: Any, fit: AnchorFit) -> str:
    lines = [" level  stride  anchors' sides (pixels)  objects  share"]
    levels = zip(section.strides, _sides(config), fit.objects_per_level, strict=True)
    for index, (stride, sides, objects) in enumerate(levels):
        mean = np.sqrt(sides.prod(axis=1))
        span = f"{mean.min():.0f}" if np.ptp(mean) < 1 else f"{mean.min():.0f} to {mean.max():.0f}"
        lines.append(f" {index:>5}  {stride:>6}  {span:>23}  {objects:>7}  {objects / len(fit.best):>5.1%}")
    return "\n".join(lines)


def _recall_table(fits: dict[str, AnchorFit]) -> str:
    title = "best possible recall at IoU"
    lines = [f" {title}" + "".join(f" {iou:>6}" for iou in SHOWN_IOU) + "  mean IoU"]
    for name, fit in fits.items():
        values = "".join(f" {value:>6.3f}" for value in fit.recall(np.array(SHOWN_IOU)))
        lines.append(f" {name:<{len(title)}}{values}  {fit.best.mean():>8.3f}")
    return "\n".join(lines)


def _draw(path: str | Path, config: Config, section: Any, boxes: np.ndarray, fits: dict[str, AnchorFit]) -> None:
    figure = new_figure(12.5, 4.2)
    shapes, levels, recall = figure.subplots(1, 3)
    fit = next(iter(fits.values()))
    colors = [f"C{index % 10}" for index in range(len(section.strides))]
    _draw_shapes(shapes, boxes, _sides(config), section.strides, colors)
    bars = levels.bar([str(stride) for stride in section.strides], fit.objects_per_level, color=colors)
    levels.bar_label(bars, [f"{count / len(boxes):.1%}" for count in fit.objects_per_level], fontsize=9)
    levels.set_title("objects by the level of their best anchor", fontsize=10)
    levels.set_xlabel("stride of the level (pixels)")
    for (name, one), style in zip(fits.items(), ("-", "--"), strict=False):
        label = f"{name}: mean IoU {one.best.mean():.3f}"
        recall.plot(IOU_POINTS, one.recall(IOU_POINTS), style, label=label, linewidth=1.8)
    recall.axvline(fit.threshold, color="gray", linewidth=1, linestyle=":", label=f"positive from {fit.threshold:g}")
    recall.set_ylim(0, 1.03)
    recall.set_xlabel("IoU of an object with its best anchor")
    recall.set_title("best possible recall", fontsize=10)
    recall.legend(fontsize=8, loc="lower left")
    recall.grid(alpha=0.3)
    save_figure(figure, path)


def _draw_shapes(
    panel: "Axes", boxes: np.ndarray, sides: list[np.ndarray], strides: list[int], colors: list[str]
) -> None:
    shown = np.random.default_rng(0).permutation(len(boxes))[:MOST_POINTS]
    size = (boxes[:, 2:] - boxes[:, :2])[shown]
    panel.scatter(size[:, 0], size[:, 1], s=5, color="0.6", alpha=0.4, linewidths=0, label="objects")
    for anchors, stride, color in zip(sides, strides, colors, strict=True):
        panel.scatter(anchors[:, 0], anchors[:, 1], marker="x", s=35, color=color, label=f"anchors, stride {stride}")
    panel.set_xscale("log", base=2)
    panel.set_yscale("log", base=2)
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.set_xlabel("width (pixels of the input)")
    panel.set_ylabel("height")
    panel.set_title("objects and anchors", fontsize=10)
    panel.legend(fontsize=7, loc="upper left")
    panel.grid(alpha=0.3)
