"""Run exported files: as they are, or as detectors for evaluation and inference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from src.blocks.detections import Detections
from src.common.errors import UserError
from src.deploy.export_card import ExportCard, load_card_of_converted, refuse_other_config
from src.deploy.lite import LiteModel
from src.deploy.mindir_file import MindirModel
from src.deploy.onnx_file import OnnxModel
from src.deploy.openvino_model import OpenvinoModel
from src.deploy.raw_selection import build_selection
from src.models.table import spec_of
from src.schema import Config


class RunnableModel(Protocol):
    """A file that a runtime has loaded."""

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """The outputs for float32 inputs, both in the file's order."""


# What runs files of a suffix, by the values of the key `runtime`; the first is meant by auto.
MODELS: Mapping[str, Mapping[str, type]] = {
    ".mindir": {"mindspore": MindirModel, "lite": LiteModel},
    ".onnx": {"onnxruntime": OnnxModel, "openvino": OpenvinoModel},
    ".ms": {"lite": LiteModel},
}
BFLOAT16 = "bfloat16"


def open_model(
    path: str | Path, runtime: str = "auto", providers: Sequence[str] = (), precision: str = "float32"
) -> RunnableModel:
    """Load a file into a runtime.

    Args:
        path: .mindir, .onnx or .ms file.
        runtime: key of the table of its suffix, or auto.
        providers: what ONNX Runtime is to run on; see `OnnxModel`.
        precision: bfloat16: OpenVINO is to compute in it; see `OpenvinoModel`. All else is a matter of the file.

    Raises:
        UserError: the runtime does not take such files, or has no providers or precision; it is not installed; a
            damaged file.
    """
    models = MODELS[Path(path).suffix]
    name = next(iter(models)) if runtime == "auto" else runtime
    if name not in models:
        raise UserError(f"--runtime {name} does not run {path}; {' and '.join(models)} can")
    if providers and name != "onnxruntime":
        raise UserError(f"--providers are those of onnxruntime, but {path} is run by {name}")
    if precision == BFLOAT16 and name != "openvino":
        raise UserError(f"--precision {precision} is for --runtime openvino, but {path} is run by {name}")
    options: dict[str, object] = {"providers": providers} if providers else {}
    if precision == BFLOAT16:
        options["bfloat16"] = True
    return models[name](path, **options)


class ExportedModel:
    """An exported file and its card.

    Args:
        path: file to run, .mindir, .onnx or .ms.
        card: what is known about it.
        runtime, providers, precision: what runs it and how, see `open_model`.
    """

    def __init__(
        self,
        path: str | Path,
        card: ExportCard,
        runtime: str = "auto",
        providers: Sequence[str] = (),
        precision: str = "float32",
    ) -> None:
        self.card = card
        is_lite = card.format == "LITE" or (card.format == "ONNX" and Path(path).suffix != ".onnx")  # of its converter
        if runtime == "auto" and is_lite:
            runtime = "lite"
        self.model = open_model(path, runtime, providers, precision)

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Outputs for inputs of any batch size.

        Where the file has a fixed one, it is called several times; the last call is filled up with the last image.

        Args:
            inputs: float32, in the card's order: image [B,3,H,W] and, where the card has it, image_info [B,6].
        """
        count, size = len(inputs[0]), self.card.batch_size
        if size is None or size == count:
            return self.model.run(*inputs)
        calls = []
        for first in range(0, count, size):
            part = [value[first : first + size] for value in inputs]
            missing = size - len(part[0])
            calls.append(self.model.run(*(np.concatenate([v, np.repeat(v[-1:], missing, 0)]) for v in part)))
        return [np.concatenate(values)[:count] for values in zip(*calls, strict=True)]


def open_exported(path: str | Path) -> ExportedModel:
    """An exported file with the card beside it.

    Raises:
        UserError: one of them is missing, damaged or not usable here.
    """
    card = load_card_of_converted(path)
    return ExportedModel(path, card)


class ExportedDetector:
    """An exported file with the interface of a detector that predicts.

    Args:
        path: file to run, .mindir, .onnx or .ms.
        config: says how raw outputs become detections; None: as the card says.
        runtime, providers, precision: what runs it and how, see `open_model`.

    Raises:
        UserError: as `open_exported`; the configuration is of another detector; the file lacks masks that it should
            have.
    """

    training = False

    def __init__(
        self,
        path: str | Path,
        config: Config | None = None,
        runtime: str = "auto",
        providers: Sequence[str] = (),
        precision: str = "float32",
    ) -> None:
        card = load_card_of_converted(path)
        if config is not None:
            refuse_other_config(path, card, config)
        self.names = [port.name for port in card.outputs]
        if (card if config is None else config).mask_threshold is not None and "masks" not in self.names:
            raise UserError(f"{path} is of the raw form, without masks; export it with --export_form detections")
        self.exported = ExportedModel(path, card, runtime, providers, precision)
        self.select = None
        if card.selection is not None:
            selection = card.selection
            if config is not None:
                selection = spec_of(config).export.selection(config, selection.get("level_sizes", ()))
            self.select = build_selection(selection)

    def set_train(self, mode: bool = True) -> None:
        """Do nothing: a file computes as in evaluation."""

    def predict(self, images: np.ndarray, image_info: np.ndarray) -> Detections:
        """Detections of a batch; arguments as of the detectors."""
        info = np.asarray(image_info, np.float32)
        inputs = {"image": np.asarray(images, np.float32), "image_info": info}
        outputs = self.exported.run(*(inputs[port.name] for port in self.exported.card.inputs))
        if self.select is not None:
            return Detections(*self.select(*outputs, info))
        return Detections(**dict(zip(self.names, outputs, strict=True)))
