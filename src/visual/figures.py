"""Charts with Matplotlib's object interface: no global backend is chosen, so a notebook's own stays as it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from src.common.atomic import atomic_path
from src.common.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of `width` x `height` inches whose panels make room for their labels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | Path, dpi: int = 100) -> None:
    """Write a figure, atomically, in the format that the suffix of `path` says (.png, .svg, .pdf, .jpg).

    Raises:
        UserError: no such format, or the file cannot be written.
    """
    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise UserError(f"{path}: '{path.suffix}' is no picture format; .png, .svg, .pdf and .jpg are")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
