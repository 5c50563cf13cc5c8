"""ONNX files, run by OpenVINO."""

from pathlib import Path

import numpy as np

from src.common.errors import UserError


class OpenvinoModel:
    """An ONNX file, run by OpenVINO on the CPU, in float32 also where the processor has shorter numbers.

    Raises:
        UserError: openvino is missing, or cannot load the file.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import openvino
        except ImportError:
            raise UserError("--runtime openvino needs the package openvino: pip install openvino") from None
        try:
            self.model = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        except RuntimeError as error:
            raise UserError(f"{path}: OpenVINO cannot load this file ({str(error).splitlines()[0]})") from None

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs for float32 inputs, both in the file's order."""
        found = self.model([np.ascontiguousarray(value, np.float32) for value in inputs])
        return [found[output] for output in self.model.outputs]
