"""ONNX files in half precision or in 8-bit integers, made of a file in float32 in a process without MindSpore."""

import tempfile
from pathlib import Path
from typing import Literal

from src.deploy.onnx_half import convert_to_half
from src.deploy.onnx_int8 import Images, Int8Converter
from src.deploy.other_process import call_without_mindspore


def convert_precision(
    source: Path, target: Path, precision: Literal["float16", "int8"], calibration: Images = ()
) -> None:
    """Write an ONNX file in another precision.

    Args:
        source: file in float32; unchanged.
        target: file to write.
        precision: of its layers.
        calibration: int8: inputs of the file, in its order, from which the ranges of activations are read.

    Raises:
        UserError: ONNX Runtime's tools cannot convert the file.
    """
    source, target = source.resolve(), target.resolve()
    if precision == "float16":
        call_without_mindspore(convert_to_half, source, target)
        return
    with tempfile.TemporaryDirectory() as folder:
        converter = Int8Converter(source, Path(folder))
        call_without_mindspore(converter.calibrate, stream=calibration)
        call_without_mindspore(converter.write, target)
