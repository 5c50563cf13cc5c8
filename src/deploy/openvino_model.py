"""ONNX files, run by OpenVINO."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from src import ONEDNN_LIMIT
from src.common.errors import UserError


@contextmanager
def _all_instructions() -> Iterator[None]:
    """Keep MindSpore's limit from OpenVINO's oneDNN, which asks for it once: it would compute without AVX-512."""
    limited = os.environ.get("ONEDNN_MAX_CPU_ISA") == ONEDNN_LIMIT
    if limited:
        del os.environ["ONEDNN_MAX_CPU_ISA"]
    try:
        yield
    finally:
        if limited:
            os.environ["ONEDNN_MAX_CPU_ISA"] = ONEDNN_LIMIT


class OpenvinoModel:
    """An ONNX file, run by OpenVINO on the CPU.

    Args:
        path: of the file.
        bfloat16: compute in bfloat16 what is float32 in the file, wherever OpenVINO has kernels for it; otherwise in
            float32, also where the processor has shorter numbers.

    Raises:
        UserError: openvino is missing, or cannot load the file; the processor does not have bfloat16.
    """

    @_all_instructions()
    def __init__(self, path: str | Path, bfloat16: bool = False) -> None:
        try:
            import openvino
        except ImportError:
            raise UserError("--runtime openvino needs the package openvino: pip install openvino") from None
        core = openvino.Core()
        # Without such instructions OpenVINO would compute in float32, and not say so.
        if bfloat16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError("--precision bfloat16: this processor does not have bfloat16; float32 and int8 work here")
        try:
            hint = {"INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32"}
            self.model = core.compile_model(str(path), "CPU", hint)
        except RuntimeError as error:
            reason = "; ".join(line for line in str(error).splitlines() if line and "Exception from" not in line)
            raise UserError(f"{path}: OpenVINO cannot load this file ({reason})") from None

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs for float32 inputs, both in the file's order."""
        found = self.model([np.ascontiguousarray(value, np.float32) for value in inputs])
        return [found[output] for output in self.model.outputs]
