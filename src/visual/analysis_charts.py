"""Pictures of an evaluation: confusion matrix, AP of each class, errors by kind."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.evaluation.error_types import ERRORS, ErrorBreakdown
from src.evaluation.metrics import Metrics
from src.visual.figures import new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_WRITTEN = 20  # classes; with more the cells of the confusion matrix are too small for their numbers
ERROR_COLORS = ("#d95f02", "#7570b3", "#a6761d", "#e7298a", "#666666", "#e6ab02")  # of ERRORS
CORRECT_COLOR = "#1b9e77"


def draw_confusion(path: str | Path, matrix: np.ndarray, class_names: Sequence[str], score_thr: float) -> None:
    """Draw a confusion matrix; colours are shares of the true class, numbers are counts.

    Args:
        path: picture to write.
        matrix: int64 [K + 1, K + 1], see `confusion_matrix`.
        class_names: K names.
        score_thr: minimum score of the detections, for the title.
    """
    size = len(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(3.2, 0.62 * size if size <= MOST_WRITTEN + 1 else 0.2 * size), 40)
    figure = new_figure(side + 2.4, side + 1.6)
    panel = figure.subplots()
    shown: np.ma.MaskedArray = np.ma.masked_array(share, np.zeros_like(share, bool))
    shown[-1] = np.ma.masked  # false alarms are not a share of any class
    image = panel.imshow(shown, cmap="Blues", vmin=0, vmax=1)
    ticks = range(size)
    panel.set_xticks(ticks, [*class_names, "nothing (missed)"], rotation=45, ha="right", rotation_mode="anchor")
    panel.set_yticks(ticks, [*class_names, "nothing (false alarm)"])
    panel.tick_params(labelsize=9 if size <= MOST_WRITTEN + 1 else 7)
    for border in (panel.axhline, panel.axvline):
        border(size - 1.5, color="gray", linewidth=1)
    if size <= MOST_WRITTEN + 1:
        for y, x in np.argwhere(matrix):
            color = "white" if y < size - 1 and share[y, x] > 0.55 else "black"
            panel.text(x, y, str(matrix[y, x]), ha="center", va="center", fontsize=9, color=color)
    panel.set_xlabel("detected class")
    panel.set_ylabel("true class")
    panel.set_title(f"confusion matrix: score from {score_thr:g}, IoU from 0.5", fontsize=10)
    figure.colorbar(image, ax=panel, label="share of the true class's objects", shrink=0.8)
    save_figure(figure, path)


def draw_class_ap(path: str | Path, metrics: Metrics, num_objects: Sequence[int]) -> None:
    """Draw AP and AP50 of each class as bars, the best class on top; of masks in a second panel, where there are any.

    Args:
        path: picture to write.
        metrics: of the evaluation.
        num_objects: objects of each class, in the order of the classes.
    """
    counts = dict(zip(metrics.per_class, num_objects, strict=True))
    kinds = [("boxes", metrics.per_class, metrics.per_class_50, "bbox")]
    if metrics.per_class_segm:
        kinds.append(("masks", metrics.per_class_segm, metrics.per_class_segm_50, "segm"))
    order = sorted(metrics.per_class, key=lambda name: metrics.per_class[name])
    figure = new_figure(1.6 + 3.6 * len(kinds), 1.4 + 0.32 * len(order))
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    places = np.arange(len(order))
    for panel, (title, values, values_50, kind) in zip(panels, kinds, strict=True):
        ap, ap50 = (np.array([source[name] for name in order]) for source in (values, values_50))
        panel.barh(places, ap50.clip(0), color="#c6dbef", label="AP at IoU 0.50")
        panel.barh(places, ap.clip(0), color="#2171b5", height=0.5, label="AP, mean of IoU 0.50:0.95")
        for place, both in zip(places, zip(ap, ap50, strict=True), strict=True):
            written = "  ".join("-" if value < 0 else f"{value:.2f}" for value in both)
            panel.text(1.02, place, written, va="center", fontsize=8)
        mean = metrics.stats[f"{kind}_mAP"]
        panel.axvline(mean, color="#d94801", linewidth=1, linestyle="--", label="AP, mean of the classes")
        panel.set_title(f"{title}: AP {mean:.3f}", fontsize=10)
        panel.set_xlim(0, 1)
        panel.set_ylim(-0.6, len(order) - 0.4)
        panel.tick_params(labelsize=8)
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(places, [f"{name} ({counts[name]})" for name in order], fontsize=9)
    handles = panels[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=1 + len(kinds), fontsize=8, frameon=False)
    save_figure(figure, path)


def draw_errors(path: str | Path, errors: ErrorBreakdown, class_names: Sequence[str]) -> None:
    """Draw what fixing each kind of error would gain, and what each class's best detections are.

    Args:
        path: picture to write.
        errors: of the evaluation.
        class_names: K names.
    """
    shown = [k for k in np.argsort(-errors.best[:, 0] / np.maximum(errors.best.sum(axis=1), 1)) if errors.best[k].any()]
    figure = new_figure(8.4, 3.3 + 0.32 * len(shown))
    top, bottom = figure.subplots(2, 1, height_ratios=[2.0, 0.9 + 0.32 * len(shown)])
    gains = [errors.gains[name] for name in ERRORS]
    bars = top.barh(ERRORS, gains, color=ERROR_COLORS)
    labels = [f"+{gain:.3f}  ({errors.counts[name]} errors)" for name, gain in zip(ERRORS, gains, strict=True)]
    top.bar_label(bars, labels, padding=4, fontsize=8)
    top.set_xlim(0, max([*gains, 0.01]) * 1.35)
    top.invert_yaxis()
    top.set_title(f"AP50 is {errors.ap50:.3f}; it would gain, were all errors of a kind fixed:", fontsize=10)
    _draw_shares(bottom, errors.best[shown], [class_names[k] for k in shown])
    handles = bottom.get_legend_handles_labels()[0]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=7, fontsize=8, frameon=False, columnspacing=1, handlelength=1
    )
    save_figure(figure, path)


def _draw_shares(panel: "Axes", counts: np.ndarray, names: list[str]) -> None:
    """Stacked bars of the columns of `ErrorBreakdown.best`, one class per bar."""
    totals = np.maximum(counts.sum(axis=1), 1)
    start = np.zeros(len(names))
    columns = zip(("correct", *ERRORS), (CORRECT_COLOR, *ERROR_COLORS), counts.T / totals, strict=True)
    for title, color, share in columns:
        bars = panel.barh(range(len(names)), share, left=start, color=color, label=title)
        written = [f"{value:.0%}" if value >= 0.05 else "" for value in share]
        panel.bar_label(bars, written, label_type="center", fontsize=8, color="white")
        start += share
    panel.set_yticks(range(len(names)), [f"{name} ({n})" for name, n in zip(names, totals, strict=True)], fontsize=9)
    panel.set_xlim(0, 1)
    panel.set_xticks([])
    panel.set_ylim(len(names) - 0.4, -0.6)
    panel.set_title("the N best detections of a class with N objects", fontsize=10)
