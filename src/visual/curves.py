"""Curves of a training run: loss terms, learning rate and AP."""

import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from src.common.errors import UserError
from src.schema.statistics import VALIDATION_PREFIX
from src.visual.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAIN_LOSS = "train_loss"  # among the values of an evaluation: the mean training loss of its epoch
LEGACY_TRAIN_LOSS = "loss"  # its name in the files of earlier releases

Curve = tuple[list[int], list[float]]  # steps, values


def draw_curves(source: str | Path | Iterable[dict], png_path: str | Path) -> None:
    """Draw loss terms, learning rate and AP over steps to a PNG file, atomically.

    Args:
        source: path of a CSV file, or rows (dicts), with the columns kind ('train' or 'eval'), epoch, step (since the
            start of training), name and value. Rows that do not parse (a half-written last line) are left out.
        png_path: file to write.

    Raises:
        UserError: the CSV file cannot be read.
    """
    train, evaluation, epoch_ends = read_curves(source)
    losses = {name: curve for name, curve in train.items() if "loss" in name}
    rates = {name: curve for name, curve in train.items() if name == "lr"}
    precision = {name: curve for name, curve in evaluation.items() if "mAP" in name}
    validated = {name: evaluation[name] for name in map(validation_name, losses) if name in evaluation}
    recall = {name: curve for name, curve in evaluation.items() if "AR" in name}

    figure = new_figure(13, 8)
    panels = figure.subplots(2, 2)
    title = "training and validation loss" if validated else "training loss"
    _draw_panel(panels[0, 0], losses | validated, title, smooth=True)
    _draw_panel(panels[0, 1], precision, "average precision (validation)", unit_range=True)
    _draw_panel(panels[1, 0], rates, "learning rate")
    _draw_panel(panels[1, 1], recall, "average recall (validation)", unit_range=True)
    last = max([curve[0][-1] for curve in (*train.values(), *evaluation.values())], default=1)
    for panel in panels.flat:
        panel.set_xlim(0, last * 1.02)
        _add_epoch_axis(panel, epoch_ends)
    save_figure(figure, png_path)


def read_curves(source: str | Path | Iterable[dict]) -> tuple[dict[str, Curve], dict[str, Curve], dict[int, int]]:
    """The values of a metrics file by name.

    Returns:
        Training curves, evaluation curves, and the last step of each epoch that was evaluated.

    Raises:
        UserError: the file cannot be read.
    """
    if isinstance(source, str | Path):
        try:
            with Path(source).open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except OSError as error:
            raise UserError(f"{source}: cannot read the metrics ({error.strerror})") from error
    else:
        rows = list(source)
    curves: dict[str, dict[str, Curve]] = {kind: defaultdict(lambda: ([], [])) for kind in ("train", "eval")}
    epoch_ends = {}
    for row in rows:
        try:
            kind, step, value = row["kind"], int(row["step"]), float(row["value"])
            epoch = int(row["epoch"])
        except (KeyError, TypeError, ValueError):
            continue
        if kind not in curves or not math.isfinite(value):
            continue
        # -1 is COCO's mark for "nothing to measure"
        if kind == "eval" and value == -1:
            continue
        name = TRAIN_LOSS if kind == "eval" and row["name"] == LEGACY_TRAIN_LOSS else row["name"]
        steps, values = curves[kind][name]
        steps.append(step)
        values.append(value)
        if kind == "eval":
            epoch_ends[epoch] = step
    return curves["train"], curves["eval"], epoch_ends


def _draw_panel(
    panel: "Axes", curves: dict[str, Curve], title: str, smooth: bool = False, unit_range: bool = False
) -> None:
    panel.set_title(title, fontsize=11)
    panel.set_xlabel("step")
    panel.grid(alpha=0.3)
    colors: dict[str, str] = {}
    for name, (steps, values) in curves.items():
        many = len(steps) > 40
        color = colors.get(name.removeprefix(VALIDATION_PREFIX))  # a validation loss has that of the training's
        if smooth and many and color is None:
            line = panel.plot(steps, values, alpha=0.25, linewidth=0.8)[0]
            colors[name] = line.get_color()
            values = running_mean(values)
            panel.plot(steps, values, color=colors[name], label=f"{name}: {values[-1]:.3g}")
        else:
            marker = None if many else "o"
            # Masks dashed: with them the two panels of the evaluation have twice as many curves.
            style = "--" if name.startswith(("segm_", VALIDATION_PREFIX)) else "-"
            label = f"{name}: {values[-1]:.3g}"
            line = panel.plot(steps, values, style, color=color, label=label, marker=marker, markersize=4)[0]
            colors[name] = line.get_color()
    if not curves:
        panel.text(0.5, 0.5, "no values yet", ha="center", va="center", transform=panel.transAxes, color="gray")
        return
    if unit_range:
        panel.set_ylim(0, 1)
    else:
        panel.set_ylim(bottom=0)
    columns = 2 if len(curves) > 8 else 1
    panel.legend(fontsize=8, title="name: latest", title_fontsize=8, loc="best", ncols=columns)


def _add_epoch_axis(panel: "Axes", epoch_ends: dict[int, int]) -> None:
    """Epoch numbers along the top, at most some ten of them."""
    if not epoch_ends:
        return
    every = -(-len(epoch_ends) // 10)
    shown = sorted(epoch_ends.items())[::-every][::-1]
    top = panel.secondary_xaxis("top")
    top.set_xticks([step for _, step in shown], [f"epoch {e}" if i == 0 else str(e) for i, (e, _) in enumerate(shown)])
    top.tick_params(labelsize=7)


def validation_name(name: str) -> str:
    """What a loss of the training is called on the validation data."""
    return VALIDATION_PREFIX + name


def running_mean(values: list[float], weight: float = 0.9) -> list[float]:
    """Exponential running mean without the bias towards the first value."""
    means, mean, total = [], 0.0, 0.0
    for value in values:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        means.append(mean / total)
    return means
