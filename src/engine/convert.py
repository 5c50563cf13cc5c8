"""Published PyTorch weights under this project's names."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from src.engine.convert_refinedet import check_port, from_port, from_vgg_classifier, is_port, is_vgg_classifier
from src.engine.convert_torchvision import from_torchvision, is_torchvision
from src.model_utils.errors import UserError

logger = logging.getLogger(__name__)

WRAPPERS = ("state_dict", "model_state_dict", "model")
BN_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
# mmdetection lists the head's shared convolutions once a level; this project holds level 0's.
SHARED_CONV = re.compile(r"^bbox_head\.(cls|reg)_convs\.(\d+)\.(\d+)\.conv\.")
DETECTOR_PARTS = ("backbone.", "neck.", "rpn_head.", "roi_head.", "bbox_head.")
# Where the number of classes shows: outputs of RetinaNet, Mask R-CNN, Cascade Mask R-CNN and RefineDet.
CLASS_BIASES = (
    "bbox_head.retina_cls.bias",
    "roi_head.bbox_head.fc_cls.bias",
    "roi_head.bbox_head.0.fc_cls.bias",
    "odm_head.conf_convs.0.bias",
)
MMDETECTION_1 = re.compile(r"^(bbox_head\.(\d\.)?(shared_fcs|fc_cls)|mask_head)\.")
LISTED = 5  # names in a message before "and so many more"


def read_state(path: str | Path) -> dict[str, Any]:
    """Names and arrays of a .pth or .pt (weights only, needs PyTorch), .safetensors or .npz file.

    Raises:
        UserError: the file is missing, damaged, of another kind, or PyTorch is needed and not installed.
    """
    path = Path(path)
    readers = {".pth": _read_torch, ".pt": _read_torch, ".safetensors": _read_safetensors, ".npz": _read_npz}
    if path.suffix not in readers:
        raise UserError(
            f"{path}: weights are read from {', '.join(readers)} files, not {path.suffix or 'without suffix'}"
        )
    if not path.is_file():
        raise UserError(f"weights file {path} does not exist")
    return readers[path.suffix](path)


def convert_weights(state: Mapping[str, Any], config) -> dict[str, np.ndarray]:
    """Rename published weights for the network that a configuration describes.

    Knows mmdetection's names of detectors (`backbone.*`, `roi_head.*`), torchvision's Mask R-CNN, RefineDet.PyTorch's,
    bare backbones, ImageNet classifiers (ResNet, VGG-16), `module.` prefixes, and state dicts inside a checkpoint. Logs
    a warning for entries that have no place and for parameters that none is for.

    Args:
        state: {published name: array or PyTorch tensor}.
        config: a checked `Config`.

    Returns:
        {parameter name: float32 array}; whole for a detector's weights, a part of the parameters for a backbone's.

    Raises:
        UserError: nothing fits, or shapes differ (another architecture or number of classes), or the configuration
            computes something else than the weights' network did.
    """
    from src.blocks.detectors import build_detector

    shapes = {parameter.name: tuple(parameter.shape) for parameter in build_detector(config).get_parameters()}
    arrays = weight_arrays(state)
    if is_port(arrays):
        check_port(config)
    arrays = from_torchvision(arrays, config) if is_torchvision(arrays) else with_full_names(arrays)
    named = our_names(_merge_shared(arrays))
    homeless = [name for name in named if name not in shapes]
    arrays = {name: array for name, array in named.items() if name in shapes}
    if not arrays:
        raise UserError(f"no weight has a name of this network; the first are {listing(list(named))}")
    _check_classes(arrays, shapes, config.num_classes - 1)
    misshapen = [
        f"{name} is {array.shape}, the network's {shapes[name]}"
        for name, array in arrays.items()
        if array.shape != shapes[name]
    ]
    if misshapen:
        raise UserError(
            f"the weights are of another architecture than {config.config_path}: {listing(misshapen, '; ')}"
        )
    missing = [name for name in shapes if name not in arrays]
    if homeless:
        logger.warning("%d entries have no place in this network: %s", len(homeless), listing(homeless))
    if missing:
        logger.warning("%d parameters keep their initial values: %s", len(missing), listing(missing))
    return arrays


def weight_arrays(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Float32 arrays of all weights of a state dict or a checkpoint around one, without `module.` before names."""
    for wrapper in WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            return weight_arrays(state[wrapper])
    arrays = {}
    for name, value in state.items():
        if hasattr(value, "detach"):  # a PyTorch tensor; float() because NumPy has no bfloat16
            value = value.detach().cpu().float().numpy()
        if isinstance(value, np.ndarray) and not name.endswith("num_batches_tracked"):
            arrays[name.removeprefix("module.")] = value.astype(np.float32)
    return arrays


def with_full_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """With the `backbone.` that a bare backbone lacks; RefineDet.PyTorch's and VGG-16's names become this project's.

    Raises:
        UserError: the names are those of a Mask R-CNN of mmdetection 1.
    """
    if any(MMDETECTION_1.match(name) for name in arrays):
        raise UserError(
            "these are weights of mmdetection 1, whose classes and boxes are encoded in another way; convert them with"
            " mmdetection 2's tools/model_converters/upgrade_model_version.py first"
        )
    if is_port(arrays):
        return from_port(arrays)
    if is_vgg_classifier(arrays):
        return from_vgg_classifier(arrays)
    if not any(name.startswith(DETECTOR_PARTS) for name in arrays):
        arrays = {f"backbone.{name}": array for name, array in arrays.items()}
    return arrays


def _merge_shared(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drop the other levels' names of shared convolutions, which must hold the same values."""
    kept = {}
    for name, array in arrays.items():
        match = SHARED_CONV.match(name)
        if match is None or match[2] == "0":
            kept[name] = array
            continue
        first = arrays.get(SHARED_CONV.sub(rf"bbox_head.{match[1]}_convs.0.{match[3]}.conv.", name))
        if first is None or not np.array_equal(first, array):
            raise UserError(f"{name} differs from level 0's, but this head shares its convolutions over the levels")
    return kept


def our_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Batch normalizations (known by their running mean) get MindSpore's names."""
    renamed = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if f"{module}.running_mean" in arrays:
            leaf = BN_NAMES.get(leaf, leaf)
        renamed[f"{module}.{leaf}"] = array
    return renamed


def _check_classes(arrays: dict[str, np.ndarray], shapes: dict[str, tuple], classes: int) -> None:
    name = next((name for name in CLASS_BIASES if name in arrays), None)
    if name is None or arrays[name].shape == shapes[name]:
        return
    what = f"{arrays[name].size - 1} classes"
    if not name.endswith("fc_cls.bias"):  # several anchors, and RefineDet's background
        background = int(name.startswith("odm_head."))
        anchors = shapes[name][0] // (classes + background)
        theirs, rest = divmod(arrays[name].size, anchors)
        what = f"{theirs - background} classes" if not rest else f"{arrays[name].size} outputs of {anchors} anchors"
    raise UserError(
        f"the weights predict {what}, the configuration {classes} (num_classes {classes + 1} with background):"
        " convert with num_classes and coco_classes of the weights, then train your own classes from the result with"
        " finetune: 1"
    )


def listing(names: list[str], separator: str = ", ") -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return separator.join(names[:LISTED]) + more


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path}: reading it needs PyTorch (pip install torch), which is not installed; .safetensors and .npz"
            " files do not"
        ) from None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # PyTorch raises many kinds, with advice that a user should not follow
        raise UserError(
            f"{path}: damaged, or holds Python objects beside the weights, which are not loaded; save its"
            " state_dict alone"
        ) from None
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: holds a {type(state).__name__}, not names and weights")
    return dict(state)


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise UserError(f"{path}: damaged, or no safetensors file ({error})") from None


def _read_npz(path: Path) -> dict[str, Any]:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{path}: damaged, or no .npz file of arrays ({error})") from None
