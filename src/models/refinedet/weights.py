"""Weights of RefineDet.PyTorch (github.com/luuuyi) under this project's names."""

import re

from src.common.errors import UserError
from src.models.api import Arrays, PublishedFormat
from src.models.refinedet.config import RefineDetConfig
from src.schema import Config

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


def is_port(arrays: Arrays) -> bool:
    """Whether these are the names of RefineDet.PyTorch."""
    return any(name.startswith(("tcb0.", "arm_loc.", "odm_loc.")) for name in arrays)


def from_port(arrays: Arrays) -> Arrays:
    """{RefineDet.PyTorch's name: array} -> {this project's name: array}; other names stay."""
    return {_renamed(name): array for name, array in arrays.items()}


def check_port(config: Config) -> None:
    """Raise a UserError unless a configuration is for RefineDet on VGG-16 as RefineDet.PyTorch has it."""
    if not isinstance(config, RefineDetConfig):
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


def _convert(arrays: Arrays, config: Config) -> Arrays:
    check_port(config)
    return from_port(arrays)


PORT = PublishedFormat(matches=is_port, convert=_convert, backbone=lambda arrays, eps: from_port(arrays))
