"""Backbones that start from published weights."""

import re
from pathlib import Path

import numpy as np
from mindspore import nn

from src.common.errors import UserError
from src.common.zoo_name import is_zoo_name
from src.weights.checkpoint import load_checkpoint_weights, load_weights
from src.weights.convert import (
    BACKBONE_PREFIX,
    format_of,
    listing,
    our_names,
    read_state,
    weight_arrays,
    with_backbone_prefix,
)

# Names of detectors in mmdetection begin with these; those of a bare backbone with none of them.
DETECTOR_PARTS = (BACKBONE_PREFIX, "neck.", "rpn_head.", "roi_head.", "bbox_head.")
CLASSIFIER = ("fc.", "head.fc.")  # what an ImageNet classifier has beside its backbone
STAGE = re.compile(r"(layer\d+)\.")


def load_pretrained_backbone(backbone: nn.Cell, path: str | Path) -> None:
    """Give a backbone the weights of a file; its classifier's, or those of a detector's other parts, are left out.

    Args:
        backbone: the network, alone or as the `backbone` of a detector.
        path: checkpoint of this project (.ckpt, zoo:NAME), or published weights (.pth, .pt, .safetensors, .npz) of a
            backbone, of mmdetection's detectors or of torchvision's Mask R-CNN. It may have stages that `backbone` does
            not have.

    Raises:
        UserError: the file is missing or damaged, or of another architecture; `backbone` is left as it was.
    """
    weights = {
        name.removeprefix(BACKBONE_PREFIX): array for name, array in _read_backbone(backbone, Path(path)).items()
    }
    parameters = {p.name.removeprefix(BACKBONE_PREFIX): p for p in backbone.get_parameters()}
    weights = {name: array for name, array in weights.items() if not _is_surplus(name, parameters)}
    problems = [f"{name} is missing" for name in parameters if name not in weights]
    problems += [f"{name} has no place" for name in weights if name not in parameters]
    problems += [
        f"{name} is {weights[name].shape}, the network's {tuple(parameter.shape)}"
        for name, parameter in parameters.items()
        if name in weights and weights[name].shape != tuple(parameter.shape)
    ]
    if problems:
        raise UserError(f"backbone.pretrained: {path} is of another architecture: {listing(problems, '; ')}")
    load_weights(backbone, {parameter.name: weights[name] for name, parameter in parameters.items()}, str(path))


def _read_backbone(backbone: nn.Cell, path: Path) -> dict[str, np.ndarray]:
    """{name: array} of a file's backbone with `backbone.` before the names."""
    of_this_project = path.suffix == ".ckpt" or is_zoo_name(path)
    arrays = weight_arrays(load_checkpoint_weights(path) if of_this_project else read_state(path))
    if (published := format_of(arrays)) is not None:
        arrays = published.backbone(arrays, _eps(backbone))
    arrays = our_names(with_backbone_prefix(arrays, DETECTOR_PARTS))
    return {name: array for name, array in arrays.items() if name.startswith(BACKBONE_PREFIX)}


def _eps(backbone: nn.Cell) -> float:
    """Epsilon of the backbone's batch normalizations; 0 where it has none."""
    return next((cell.eps for _, cell in backbone.cells_and_names() if isinstance(cell, nn.BatchNorm2d)), 0.0)


def _is_surplus(name: str, parameters: dict) -> bool:
    if name.startswith(CLASSIFIER):
        return True
    stage = STAGE.match(name)
    return stage is not None and not any(other.startswith(f"{stage[1]}.") for other in parameters)
