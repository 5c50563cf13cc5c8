"""Weights of RefineDet.PyTorch (github.com/luuuyi) and of ImageNet VGG-16s under this project's names."""

import re

import numpy as np

from src.model_utils.errors import UserError

# (pattern, replacement) of whole module names of the port.
MODULES = (
    (r"vgg\.(\d+)", r"backbone.features.\1"),
    (r"conv4_3_L2Norm", "levels.l2_norms.0"),
    (r"conv5_3_L2Norm", "levels.l2_norms.1"),
    (r"extras\.0", "levels.conv6_1"),
    (r"extras\.1", "levels.conv6_2"),
    (r"(arm|odm)_(loc|conf)\.(\d)", r"\1_head.\2_convs.\3"),
    (r"tcb1\.(\d)", r"neck.blocks.\1.upsample.deconv"),
)
# The port's transfer connection blocks are flat lists of three layers a level.
BLOCK_LAYERS = re.compile(r"(tcb0|tcb2)\.(\d+)")
BLOCK_CONVS = {("tcb0", 0): "conv1", ("tcb0", 2): "conv2", ("tcb2", 1): "conv3"}
LAYERS_A_LEVEL = 3

FC6, FC7 = "classifier.0.weight", "classifier.3.weight"
REDUCED = re.compile(r"\d+\.(weight|bias)")  # vgg16_reducedfc.pth numbers the layers and has fc6 and fc7 decimated
FC_STEP = 4
FC6_SIDE, FC6_STEP = 7, 3
NEW_NORM = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}


def is_port(arrays: dict[str, np.ndarray]) -> bool:
    """Whether these are the names of RefineDet.PyTorch."""
    return any(name.startswith(("tcb0.", "arm_loc.", "odm_loc.")) for name in arrays)


def from_port(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{RefineDet.PyTorch's name: array} -> {this project's name: array}; other names stay."""
    return {_renamed(name): array for name, array in arrays.items()}


def check_port(config) -> None:
    """Raise a UserError unless a configuration is for RefineDet on VGG-16 as RefineDet.PyTorch has it."""
    if config.detector != "refinedet":
        what = f"detector {config.detector}"
    elif config.backbone.type != "vgg16":
        what = f"backbone {config.backbone.type}"
    elif config.backbone.with_bn or config.neck.with_bn or config.bbox_head.prediction_blocks:
        what = "with_bn or prediction_blocks"
    else:
        return
    raise UserError(
        f"these are weights of RefineDet.PyTorch on VGG-16, but {config.config_path} is for {what}; convert with"
        " configs/refinedet/refinedet_vgg16_320_voc.yaml or _512_voc.yaml, or with keys like theirs"
    )


def _renamed(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    if match := BLOCK_LAYERS.fullmatch(module):
        level, layer = divmod(int(match[2]), LAYERS_A_LEVEL)
        conv = BLOCK_CONVS.get((match[1], layer))
        return f"neck.blocks.{level}.{conv}.conv.{leaf}" if conv else name
    for pattern, replacement in MODULES:
        if match := re.fullmatch(pattern, module):
            return f"{match.expand(replacement)}.{leaf}"
    return name


def is_vgg_classifier(arrays: dict[str, np.ndarray]) -> bool:
    """Whether these are weights of torchvision's VGG-16 (with or without BN), or of the port's vgg16_reducedfc.pth."""
    if all(name in arrays for name in (FC6, FC7, "features.0.weight")):
        return arrays[FC6].ndim == 2 and arrays[FC6].shape[1] % FC6_SIDE**2 == 0
    return bool(arrays) and all(REDUCED.fullmatch(name) for name in arrays)


def from_vgg_classifier(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights of an ImageNet VGG-16 as those of the backbone `VGG16`, with `backbone.` before their names.

    The fully connected fc6 (over 7x7 pixels) and fc7 become convolutions with a fourth of the outputs: every fourth
    output and every third row and column are kept (Liu et al. 2016, section 3.1). Their batch normalizations, which the
    classifier has not, start as new ones.
    """
    if FC6 not in arrays:
        return {f"backbone.features.{name}": array for name, array in arrays.items()}
    renamed = {f"backbone.{name}": array for name, array in arrays.items() if name.startswith("features.")}
    with_bn = any(name.endswith("running_mean") for name in renamed)
    outputs = len(arrays[FC6])
    fc6 = arrays[FC6].reshape(outputs, -1, FC6_SIDE, FC6_SIDE)[::FC_STEP, :, ::FC6_STEP, ::FC6_STEP]
    fc7 = arrays[FC7][::FC_STEP, ::FC_STEP, None, None]
    place = 3 + max(int(name.split(".")[2]) for name in renamed)  # after an activation and a pool
    for kernel, bias in ((fc6, arrays["classifier.0.bias"]), (fc7, arrays["classifier.3.bias"])):
        renamed[f"backbone.features.{place}.weight"] = np.ascontiguousarray(kernel)
        renamed[f"backbone.features.{place}.bias"] = bias[::FC_STEP].copy()
        if with_bn:
            place += 1
            for leaf, value in NEW_NORM.items():
                renamed[f"backbone.features.{place}.{leaf}"] = np.full(len(kernel), value, np.float32)
        place += 2
    return renamed
