"""The learning rate of a training as a picture."""

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
