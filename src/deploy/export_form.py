"""What is exported of a detector: which cell, with which inputs and outputs."""

from typing import Literal, NamedTuple

from mindspore import nn

from src.blocks.layers import use_standard_operators
from src.blocks.roi_extractors import RoIAlign
from src.deploy.export_card import Port
from src.models.api import Detector
from src.models.table import spec_of
from src.ops.roi_align.exported_roi_align import OnnxRoIAlign, WindowRoIAlign
from src.schema import Config

RAW_OUTPUTS = ("boxes", "scores")
DETECTION_OUTPUTS = ("boxes", "scores", "labels", "valid", "masks")
DTYPES = {"labels": "int32", "valid": "bool"}
ROI_ALIGN_FORMS = {"MINDIR": WindowRoIAlign, "ONNX": OnnxRoIAlign, "LITE": WindowRoIAlign, "OM": WindowRoIAlign}


class ExportForm(NamedTuple):
    """A cell that gives the outputs of an exported file.

    Attributes:
        name: raw or detections.
        cell: takes the inputs in their order, in evaluation mode.
        input_names: `image` float32 [B,3,H,W] and, where it is needed, `image_info` float32 [B,6].
        output_names: of what `cell` returns.
        level_sizes: raw: rows of each level of the outputs; detections: none.
    """

    name: Literal["raw", "detections"]
    cell: nn.Cell
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    level_sizes: tuple[int, ...]

    def input_shapes(self, config: Config, batch_size: int) -> list[list[int]]:
        """Shapes of the inputs; batch_size -1: any."""
        shapes = {"image": [batch_size, 3, *config.input_hw], "image_info": [batch_size, 6]}
        return [shapes[name] for name in self.input_names]

    def input_ports(self, config: Config, batch_size: int) -> list[Port]:
        """The inputs for the card; batch_size -1: any."""
        shapes = self.input_shapes(config, batch_size)
        return [Port(name=name, shape=shape) for name, shape in zip(self.input_names, shapes, strict=True)]

    def output_ports(self) -> list[Port]:
        """The outputs for the card, still without shapes."""
        return [Port(name=name, shape=[], dtype=DTYPES.get(name, "float32")) for name in self.output_names]


def form_name(config: Config) -> Literal["raw", "detections"]:
    """The form that a configuration asks for."""
    if config.export_form != "auto":
        return config.export_form
    return spec_of(config).export.default_form


def export_form(net: Detector, config: Config) -> ExportForm:
    """The form of a detector that its configuration asks for; the detector still computes as before."""
    name = form_name(config)
    net.set_train(False)
    if name == "raw":
        cell = spec_of(config).export.raw_form(net)
        cell.set_train(False)
        return ExportForm(name, cell, cell.input_names, RAW_OUTPUTS, tuple(cell.level_sizes))
    outputs = DETECTION_OUTPUTS if config.mask_options else DETECTION_OUTPUTS[:-1]
    return ExportForm(name, net, ("image", "image_info"), outputs, ())


def prepare_for_file(net: Detector, file_format: str) -> None:
    """Let a detector compute by operators that the file's runtime has; for ONNX it can then only be exported."""
    use_standard_operators(net)
    for _, cell in net.cells_and_names():
        if isinstance(cell, RoIAlign) and file_format in ROI_ALIGN_FORMS:
            cell.export_as(ROI_ALIGN_FORMS[file_format])
