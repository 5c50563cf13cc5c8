"""Curves of several training runs in one picture, and their figures in a table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.common.errors import UserError
from src.schema.statistics import VOC_STATISTICS
from src.visual.curves import TRAIN_LOSS, Curve, read_curves, running_mean, validation_name
from src.visual.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAIN_METRICS = ("bbox_mAP", "bbox_mAP_50", "segm_mAP", "segm_mAP_50", *VOC_STATISTICS)
SMOOTHED_FROM = 40  # values; shorter curves are drawn as they are


@dataclass
class Run:
    """One training run.

    Attributes:
        name: shown in the legend.
        curves: of each quantity.
        epoch_ends: last step of each epoch that was evaluated.
    """

    name: str
    curves: dict[str, Curve]
    epoch_ends: dict[int, int]

    def epoch_of(self, step: int) -> int:
        """The evaluated epoch that ended at `step`."""
        return next(epoch for epoch, end in self.epoch_ends.items() if end == step)


def read_run(path: str | Path, name: str | None = None) -> Run:
    """Read a run's folder, or its metrics.csv.

    Raises:
        UserError: there is no such file, or no value in it.
    """
    path = Path(path)
    source = path / "metrics.csv" if path.is_dir() else path
    train, evaluation, epoch_ends = read_curves(source)
    if not train and not evaluation:
        raise UserError(f"{source}: holds no metrics; give the folder of a training, or its metrics.csv")
    evaluation.pop(TRAIN_LOSS, None)  # the training's own curve says more
    return Run(name or source.resolve().parent.name, {**evaluation, **train}, epoch_ends)


def compare_runs(runs: Sequence[Run], path: str | Path, metrics: Sequence[str] = (), with_epochs: bool = False) -> None:
    """Draw a panel for each quantity, with a line for each run.

    Args:
        runs: what to compare.
        path: picture to write; its suffix says the format.
        metrics: names of quantities; none: loss, box and mask AP, learning rate, loss terms.
        with_epochs: the horizontal axis counts epochs instead of steps.

    Raises:
        UserError: no run has a quantity; or the epochs are asked for of a run that has no evaluated one.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.curves))
    for name in metrics:
        if name not in known:
            raise UserError(f"--metrics {name}: none of the runs has it; they have {', '.join(known)}")
    chosen = list(metrics) or _main_quantities(known)
    columns = min(len(chosen), 3 if len(chosen) < 9 else 4)
    rows = -(-len(chosen) // columns)
    figure = new_figure(4.4 * columns, 3.1 * rows + 0.4)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel, name in zip(panels, chosen, strict=False):
        _draw_quantity(panel, name, runs, with_epochs)
    for panel in list(figure.axes)[len(chosen) :]:
        panel.set_visible(False)
    lines = [line for line in figure.axes[0].get_lines() if not str(line.get_label()).startswith("_")]
    if len(lines) > 1:
        figure.legend(handles=lines, loc="outside upper center", ncols=min(len(lines), 2 * columns), frameon=False)
    save_figure(figure, path)


def summary_table(runs: Sequence[Run]) -> str:
    """One line per run: steps, last loss, and the best value of each AP with its epoch."""
    metrics = [name for name in MAIN_METRICS if any(name in run.curves for run in runs)]
    width = max(len(run.name) for run in runs)
    lines = [f" {'run':<{width}} {'steps':>8} {'loss':>9}" + "".join(f"  {'best ' + name:>23}" for name in metrics)]
    for run in runs:
        steps = max(curve[0][-1] for curve in run.curves.values())
        loss = f"{run.curves['loss'][1][-1]:.4f}" if "loss" in run.curves else "-"
        best = "".join(f"  {_best(run, name):>23}" for name in metrics)
        lines.append(f" {run.name:<{width}} {steps:>8} {loss:>9}{best}")
    return "\n".join(lines)


def _main_quantities(known: list[str]) -> list[str]:
    together = {validation_name(name) for name in known}
    terms = [name for name in known if "loss" in name and name != "loss" and name not in together]
    return [name for name in ("loss", *MAIN_METRICS, "lr", *terms) if name in known]


def _draw_quantity(panel: "Axes", name: str, runs: Sequence[Run], with_epochs: bool) -> None:
    panel.set_title(name, fontsize=10)
    panel.set_xlabel("epoch" if with_epochs else "step", fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)
    for index, run in enumerate(runs):
        color = f"C{index % 10}"
        steps, values = run.curves.get(name, ([], []))
        places = _places(run, steps, with_epochs)
        if "loss" in name and len(values) > SMOOTHED_FROM:
            panel.plot(places, values, color=color, alpha=0.2, linewidth=0.8, label="_raw")
            values = running_mean(values)
        panel.plot(places, values, color=color, linewidth=1.6, label=run.name, marker=_marker(values), markersize=4)
        _draw_validation(panel, name, run, color, with_epochs)
        if values and math.isfinite(values[-1]):
            panel.annotate(
                f"{values[-1]:.3g}",
                (places[-1], values[-1]),
                xytext=(4, 0),
                textcoords="offset points",
                color=color,
                fontsize=8,
                va="center",
                annotation_clip=False,
            )
    panel.margins(x=0.02)
    panel.set_ylim(0, panel.get_ylim()[1] * 1.04)


def _draw_validation(panel: "Axes", name: str, run: Run, color: str, with_epochs: bool) -> None:
    """The same loss on the validation data, where a run has it, as a dashed line."""
    steps, values = run.curves.get(validation_name(name), ([], []))
    if values:
        places = _places(run, steps, with_epochs)
        panel.plot(places, values, "--", color=color, label="_validation", marker=_marker(values), markersize=4)
        panel.set_title(f"{name} (dashed: validation)", fontsize=10)


def _places(run: Run, steps: list[int], with_epochs: bool) -> Sequence[float]:
    return [step / _steps_per_epoch(run) for step in steps] if with_epochs else steps


def _marker(values: list[float]) -> str | None:
    return "o" if len(values) <= 12 else None


def _steps_per_epoch(run: Run) -> float:
    if not run.epoch_ends:
        raise UserError(f"{run.name}: no epoch of it was evaluated, so the length of an epoch is not known; use steps")
    epoch, step = max(run.epoch_ends.items())
    return step / epoch


def _best(run: Run, name: str) -> str:
    steps, values = run.curves.get(name, ([], []))
    if not values:
        return "-"
    best = max(values)
    return f"{best:.4f} (epoch {run.epoch_of(steps[values.index(best)])})"
