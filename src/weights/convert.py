"""Published PyTorch weights under this project's names."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.common.errors import UserError
from src.models.api import Arrays, PublishedFormat
from src.models.table import build_detector, published_formats, spec_of
from src.schema import Config

logger = logging.getLogger(__name__)

WRAPPERS = ("state_dict", "model_state_dict", "model")
BN_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
BACKBONE_PREFIX = "backbone."
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


def convert_weights(state: Mapping[str, Any], config: Config) -> Arrays:
    """Rename published weights for the network that a configuration describes.

    Knows mmdetection's names of detectors (`backbone.*`, `roi_head.*`), torchvision's Mask R-CNN, RefineDet.PyTorch's,
    bare backbones, ImageNet classifiers (ResNet, VGG-16), `module.` prefixes, and state dicts inside a checkpoint. Logs
    a warning for entries without a matching parameter and for parameters without an entry.

    Args:
        state: {published name: array or PyTorch tensor}.
        config: a checked `Config`.

    Returns:
        {parameter name: float32 array}; all parameters for a detector's weights, some of them for a backbone's.

    Raises:
        UserError: nothing fits, or shapes differ (another architecture or number of classes), or the configuration
            computes something else than the weights' network did.
    """
    shapes = {parameter.name: tuple(parameter.shape) for parameter in build_detector(config).get_parameters()}
    arrays = weight_arrays(state)
    if (published := format_of(arrays)) is not None:
        arrays = published.convert(arrays, config)
    parts = {f"{name.split('.')[0]}." for name in shapes}
    named = our_names(with_backbone_prefix(arrays, tuple(parts)))
    unmatched = [name for name in named if name not in shapes]
    arrays = {name: array for name, array in named.items() if name in shapes}
    if not arrays:
        raise UserError(f"no weight has a name of this network; the first are {listing(list(named))}")
    _check_classes(arrays, shapes, config)
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
    if unmatched:
        logger.warning("%d entries have no place in this network: %s", len(unmatched), listing(unmatched))
    if missing:
        logger.warning("%d parameters keep their initial values: %s", len(missing), listing(missing))
    return arrays


def weight_arrays(state: Mapping[str, Any]) -> Arrays:
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


def format_of(arrays: Arrays) -> PublishedFormat | None:
    """The format that published weights are in; None: mmdetection's names, which this project's follow."""
    return next((published for published in published_formats() if published.matches(arrays)), None)


def with_backbone_prefix(arrays: Arrays, parts: tuple[str, ...]) -> Arrays:
    """With the `backbone.` that a bare backbone lacks: one none of whose names begins with one of `parts`."""
    if any(name.startswith(parts) for name in arrays):
        return arrays
    return {f"{BACKBONE_PREFIX}{name}": array for name, array in arrays.items()}


def our_names(arrays: Arrays) -> Arrays:
    """Batch normalizations (known by their running mean) get MindSpore's names."""
    renamed = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        if f"{module}.running_mean" in arrays:
            leaf = BN_NAMES.get(leaf, leaf)
        renamed[f"{module}.{leaf}"] = array
    return renamed


def pytorch_names(arrays: Arrays) -> Arrays:
    """The reverse of `our_names`: weights as the state dict of a PyTorch network with mmdetection's modules.

    Args:
        arrays: {parameter name: array}, all weights of a detector or some.

    Returns:
        {name in PyTorch: the same array}; of what such a state dict has, only `num_batches_tracked` is missing.
    """
    theirs = {ours: name for name, ours in BN_NAMES.items()}
    renamed = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition(".")
        renamed[f"{module}.{theirs.get(leaf, leaf)}"] = array
    return renamed


def _check_classes(arrays: Arrays, shapes: dict[str, tuple], config: Config) -> None:
    bias = next((bias for bias in spec_of(config).class_biases if bias.name in arrays), None)
    if bias is None or arrays[bias.name].shape == shapes[bias.name]:
        return
    classes, found = config.num_classes - 1, arrays[bias.name].size
    anchors = shapes[bias.name][0] // (classes + bias.background)
    outputs, rest = divmod(found, anchors)
    what = f"{found} outputs of {anchors} anchors" if rest else f"{outputs - bias.background} classes"
    raise UserError(
        f"the weights predict {what}, the configuration {classes} (num_classes {classes + 1} with background):"
        " convert with num_classes and coco_classes of the weights, then train your own classes from the result with"
        " finetune: 1"
    )


def listing(names: Sequence[str], separator: str = ", ") -> str:
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
