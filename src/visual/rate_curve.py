"""The learning rate of a training, and losses by learning rate, as pictures."""

from collections.abc import Sequence
from pathlib import Path

from src.visual.figures import new_figure, save_figure


def draw_rates(path: str | Path, title: str, epochs: Sequence[float], rates: Sequence[float], last_epoch: int) -> None:
    """Draw learning rates over epochs, on a linear and on a logarithmic axis.

    Args:
        path: picture to write.
        title: above both.
        epochs: where the rates are, from 0.
        rates: learning rates.
        last_epoch: end of the horizontal axis.

    Raises:
        UserError: the picture cannot be written.
    """
    figure = new_figure(11, 3.6)
    for panel, scale in zip(figure.subplots(1, 2), ("linear", "log"), strict=True):
        panel.plot(epochs, rates, color="tab:blue")
        panel.set_xlabel("epoch")
        panel.set_ylabel("learning rate")
        panel.set_yscale(scale)
        panel.set_xlim(0, last_epoch)
        panel.grid(alpha=0.3)
    figure.suptitle(title)
    save_figure(figure, path)


def draw_losses_by_rate(
    path: str | Path,
    title: str,
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    marks: dict[str, float],
) -> None:
    """Draw losses over learning rates on a logarithmic axis.

    Args:
        path: picture to write.
        title: above it.
        rates: learning rates, growing.
        losses: at these rates.
        smoothed: running means of the losses.
        marks: {name: rate} of rates to point out.

    Raises:
        UserError: the picture cannot be written.
    """
    figure = new_figure(7.5, 4.2)
    panel = figure.subplots()
    panel.plot(rates, losses, color="tab:blue", alpha=0.3, linewidth=0.8)
    panel.plot(rates, smoothed, color="tab:blue", label="loss (running mean)")
    for index, (name, rate) in enumerate(marks.items()):
        panel.axvline(rate, color=f"C{index + 1}", linestyle="--", label=f"{name}: {rate:.2g}")
    panel.set_xscale("log")
    panel.set_xlabel("learning rate")
    panel.set_ylabel("loss")
    if smoothed:
        # The last losses may be many times the others.
        panel.set_ylim(0, 1.5 * max(smoothed[0], min(smoothed)))
        panel.legend(fontsize=9)
    panel.grid(alpha=0.3)
    panel.set_title(title, fontsize=11)
    save_figure(figure, path)
