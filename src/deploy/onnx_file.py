"""ONNX files: written by MindSpore and improved here, run by ONNX Runtime."""

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import mindspore as ms
import numpy as np
from mindspore import nn

from src.common.errors import UserError

logger = logging.getLogger(__name__)

# ONNX Runtime's names of what the key `providers` lists.
PROVIDERS = {
    "CPU": "CPUExecutionProvider",
    "CUDA": "CUDAExecutionProvider",
    "TensorRT": "TensorrtExecutionProvider",
    "OpenVINO": "OpenVINOExecutionProvider",
}


def onnx_package(name: str) -> ModuleType:
    """The package `onnx` or `onnxruntime`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return __import__(name)
    except ImportError:
        raise UserError(f"ONNX files need the package {name}: pip install -r requirements.txt") from None


def write_onnx_file(
    cell: nn.Cell,
    input_shapes: list[list[int]],
    input_names: tuple[str, ...],
    output_names: tuple[str, ...],
    path: Path,
    aligned_rois: bool,
    opset: int,
    for_lite: bool = False,
    image_by_image: bool = False,
) -> None:
    """Write a cell as ONNX and run the ONNX checker on it.

    Args:
        cell: in evaluation mode, prepared for ONNX.
        input_shapes: of its float32 inputs; -1 for a batch of any size.
        input_names: in their order.
        output_names: in theirs.
        path: file to write.
        aligned_rois: see `improved`.
        opset: likewise.
        for_lite: likewise.
        image_by_image: likewise.

    Raises:
        UserError: the package onnx is missing; see `improved`.
    """
    onnx = onnx_package("onnx")
    from src.deploy.onnx_passes import improved

    dynamic = any(shape[0] < 0 for shape in input_shapes)
    inputs = [ms.Tensor(np.zeros([abs(size) for size in shape], np.float32)) for shape in input_shapes]
    # MindSpore accepts no spaces in names. The names of outputs are set later: given to it, it breaks some graphs.
    with tempfile.TemporaryDirectory() as folder:
        written = f"{folder}/model.onnx"
        ms.onnx.export(cell, *inputs, file_name=written, input_names=list(input_names))
        model = onnx.load(written)
    better = improved(
        model, output_names, aligned_rois, dynamic, opset, for_lite=for_lite, image_by_image=image_by_image
    )
    onnx.save(better, path)
    onnx.checker.check_model(path, full_check=True)


class OnnxModel:
    """An ONNX file, run by ONNX Runtime, on the CPU cores of this process unless providers are named.

    Args:
        path: of the file.
        providers: keys of `PROVIDERS`, the preferred first; the CPU does what none of them can.

    Raises:
        UserError: onnxruntime is missing, or cannot load the file.
    """

    def __init__(self, path: str | Path, providers: Sequence[str] = ()) -> None:
        runtime = onnx_package("onnxruntime")
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # loaders need the cores meanwhile
        options.log_severity_level = 3
        try:
            usable = _usable(providers, runtime.get_available_providers())
            self.session = runtime.InferenceSession(str(path), options, providers=usable)
        except Exception as error:  # its own exceptions have no common class
            raise UserError(f"{path}: ONNX Runtime cannot load this file ({str(error).splitlines()[0]})") from None
        if providers:
            _tell_what_runs(providers, self.session.get_providers())
        self.input_names = [value.name for value in self.session.get_inputs()]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs for float32 inputs, both in the file's order."""
        values = (np.ascontiguousarray(value, np.float32) for value in inputs)
        return self.session.run(None, dict(zip(self.input_names, values, strict=True)))


def _usable(wanted: Sequence[str], available: Sequence[str]) -> list[str]:
    """ONNX Runtime's names of those wanted that it was built with, and the CPU's at the end."""
    names = [PROVIDERS[name] for name in (*wanted, "CPU")]
    return list(dict.fromkeys(name for name in names if name in available))


def _tell_what_runs(wanted: Sequence[str], running: Sequence[str]) -> None:
    """Say which providers there are, with a warning where one that was asked for is not among them."""
    missing = [name for name in wanted if PROVIDERS[name] not in running]
    line = f"ONNX Runtime runs on {', then '.join(name for name in running)}"
    if missing:
        logger.warning(f"{line}: {', '.join(missing)} cannot be used here")
    else:
        logger.info(line)
