"""What layers with CPU kernels of this project share: whether a kernel computes, and the way back to MindSpore's."""

from mindspore import nn

from src.model_utils.device_adapter import current_target
from src.ops.kernel_library import optional_library


def cpu_library(target: str) -> str | None:
    """Path of the compiled kernels for `target`, one of `kernel_library.SOURCES`; None: MindSpore's operators must do.

    They are on other devices than the CPU, and where there is no compiler, which one warning says.
    """
    path = optional_library(target) if current_target() == "CPU" else None
    return None if path is None else str(path)


def use_standard_operators(net: nn.Cell) -> None:
    """Let all cells of `net` compute by MindSpore's own operators from now on, as exported models must.

    Graphs that were compiled before stay as they are, except those of `net` itself.
    """
    net.compile_cache.clear()
    for _, cell in net.cells_and_names():
        if hasattr(cell, "use_standard_operators"):
            cell.use_standard_operators()
