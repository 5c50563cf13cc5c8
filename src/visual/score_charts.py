"""Charts of an evaluation over recall and over score: precision-recall curves, and what a least score does."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.evaluation.coco_precision import RECALL_POINTS
from src.evaluation.score_curves import THRESHOLDS, ScoreCurves
from src.visual.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_COLORED = 12  # classes; with more their curves are grey, and only the mean stands out
PANELS_PER_PICTURE = 12
COLORS = {"precision": "#1b9e77", "recall": "#7570b3", "F1": "#d95f02"}


def draw_precision_recall(path: str | Path, precision: np.ndarray, class_names: Sequence[str]) -> None:
    """Draw precision over recall of each class at IoU 0.5, and their mean.

    Args:
        path: picture to write.
        precision: float64 [101, K] at RECALL_POINTS; -1 for a class without objects.
        class_names: K names.
    """
    shown = [k for k in range(len(class_names)) if precision[0, k] >= 0]
    figure = new_figure(7.6, 4.6)
    panel = figure.subplots()
    for k in shown:
        curve = precision[:, k]
        label = f"{class_names[k]}: AP50 {curve.mean():.3f}"
        if len(shown) > MOST_COLORED:
            panel.plot(RECALL_POINTS, curve, color="#bbbbbb", linewidth=0.7)
        else:
            panel.plot(RECALL_POINTS, curve, label=label, linewidth=1.3)
    if len(shown) > 1:
        mean = precision[:, shown].mean(axis=1)
        panel.plot(RECALL_POINTS, mean, color="black", linewidth=2.2, label=f"mean: AP50 {mean.mean():.3f}")
    _frame(panel, "recall", "precision")
    if shown:
        panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)
    panel.set_title("precision over recall at IoU 0.5", fontsize=10)
    save_figure(figure, path)


def draw_score_curves(folder: Path, curves: ScoreCurves, class_names: Sequence[str]) -> list[Path]:
    """Draw precision, recall and F1 of each class with objects over the least score of a detection.

    Args:
        folder: gets score_curves_01.png and so on, PANELS_PER_PICTURE classes each.
        curves: of the evaluation.
        class_names: K names.

    Returns:
        The pictures.
    """
    shown, best = np.flatnonzero(curves.objects > 0).tolist(), curves.best_places()
    paths: list[Path] = []
    for first in range(0, len(shown), PANELS_PER_PICTURE):
        classes = shown[first : first + PANELS_PER_PICTURE]
        columns = min(len(classes), 3)
        rows = -(-len(classes) // columns)
        figure = new_figure(3.4 * columns + 0.4, 2.6 * rows + 0.5)
        panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
        for panel, k in zip(panels, classes, strict=False):
            _draw_class(panel, curves, k, f"{class_names[k]} ({curves.objects[k]})", int(best[k]))
        for panel in panels[len(classes) :]:
            panel.set_visible(False)
        handles = panels[0].get_legend_handles_labels()[0]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(COLORS), fontsize=8, frameon=False)
        paths.append(folder / f"score_curves_{len(paths) + 1:02d}.png")
        save_figure(figure, paths[-1])
    return paths


def _draw_class(panel: "Axes", curves: ScoreCurves, k: int, title: str, best: int) -> None:
    for (name, color), values in zip(COLORS.items(), (curves.precision, curves.recall, curves.f1), strict=True):
        panel.plot(THRESHOLDS, values[k], color=color, label=name, linewidth=1.4)
    if best >= 0:
        panel.axvline(THRESHOLDS[best], color="gray", linewidth=0.8, linestyle="--")
        title += f": F1 {curves.f1[k, best]:.2f} at {THRESHOLDS[best]:.2f}"
    _frame(panel, "least score", "")
    panel.set_title(title, fontsize=9)


def _frame(panel: "Axes", x: str, y: str) -> None:
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 1.02)
    panel.set_xlabel(x, fontsize=8)
    panel.set_ylabel(y, fontsize=8)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)
