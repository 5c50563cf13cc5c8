"""MINDIR (and AIR) files: MindSpore's own format."""

import shutil
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src.common.errors import UserError

ANY = -1


def write_mindspore_file(cell: nn.Cell, input_shapes: list[list[int]], path: Path, file_format: str) -> None:
    """Write a cell as MINDIR or AIR.

    Args:
        cell: in evaluation mode, of standard operators.
        input_shapes: of its float32 inputs; -1 for an axis of any length.
        path: file to write, with its suffix.
        file_format: MINDIR or AIR.
    """
    inputs = [
        ms.Tensor(shape=[None if size == ANY else size for size in shape], dtype=ms.float32)
        if ANY in shape
        else ms.Tensor(np.zeros(shape, np.float32))
        for shape in input_shapes
    ]
    # MindSpore accepts no spaces in names, and adds suffixes as it sees fit.
    with tempfile.TemporaryDirectory() as folder:
        ms.export(cell, *inputs, file_name=f"{folder}/model", file_format=file_format)
        (written,) = Path(folder).glob("model*")
        shutil.copyfile(written, path)


class MindirModel:
    """A MINDIR file, run by MindSpore on the device of this process.

    Raises:
        UserError: the file cannot be loaded.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self.graph = nn.GraphCell(ms.load(str(path)))
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{path}: MindSpore cannot load this file ({str(error).splitlines()[0]})") from None

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs for float32 inputs, both in the file's order."""
        outputs = self.graph(*(ms.Tensor(np.ascontiguousarray(value, np.float32)) for value in inputs))
        return [output.asnumpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]
