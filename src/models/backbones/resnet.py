"""ResNet and ResNeXt in configurations, and the weights of MindSpore's ImageNet ResNets under this project's names."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from src.blocks.architectures import BASIC_EXPANSION, BOTTLENECK_EXPANSION, has_bottlenecks
from src.models.api import Arrays, Problem, PublishedFormat
from src.models.backbones.epsilon import rescaled_gammas
from src.models.backbones.spec import BackboneSpec
from src.schema.sections import BackboneConfig, Channels, Layers, NormConfig, key

if TYPE_CHECKING:
    from mindspore import nn

STEM_STRIDE = 4

# Names of MindSpore's model zoo (official/cv/ResNet) and of mindcv: the shortcut is called otherwise, and the model
# zoo's basic blocks (18 and 34 layers) have bn1d and bn2d. Names of batch normalizations become PyTorch's.
BACKBONE_NAME = re.compile(r"(conv1|bn1|layer\d+\.\d+\..+)\.(weight|gamma|beta|moving_mean|moving_variance)")
MODEL_ZOO_SHORTCUT, MINDCV_SHORTCUT = ".down_sample_layer.", ".down_sample."
MODEL_ZOO_BASIC_NORM = re.compile(r"\.bn([12])d\.")
PYTORCH_LEAVES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
# Epsilons of their batch normalizations: the model zoo's with bottlenecks, all others.
MODEL_ZOO_EPS, OTHER_EPS = 1e-4, 1e-5


class ResNetConfig(BackboneConfig):
    """Keys of ResNet and ResNeXt."""

    type: str = key("resnet", "backbone type (resnet or resnext)")
    depth: Literal[18, 34, 50, 101, 152] = key(50, "backbone depth")
    frozen_stages: Annotated[int, Field(ge=-1, le=4)] = key(
        -1, "stages that do not train: 0 the stem, n the stem and n stages; use it if pretrained; -1: all train"
    )
    norm_eval: bool = key(True, "batch normalization uses the stored statistics in training too; use it if pretrained")
    num_stages: Annotated[int, Field(ge=1, le=4)] = key(4, "number of stages")
    out_indices: list[Annotated[int, Field(ge=0, le=3)]] = key(
        [0, 1, 2, 3], "stages whose outputs go to the neck", min_length=1
    )
    groups: Channels = key(1, "groups of the 3x3 convolutions (only resnext)")
    base_width: Channels = key(4, "channels per group, at 64 base_channels (only resnext)")
    base_channels: Channels = key(64, "channels of the stem; every stage scales with it")
    stage_blocks: list[Layers] | None = key(None, "residual blocks of each stage; empty: the depth's")
    zero_init_residual: bool = key(True, "start with a zero gamma in the last BN of each residual branch")
    norm_cfg: NormConfig = key(NormConfig(momentum=0.1, eps=1e-5), "batch normalization of the backbone")

    @property
    def frozen(self) -> int:
        """See `BackboneConfig`."""
        return self.frozen_stages


def channels_of(section: ResNetConfig) -> list[int]:
    """Channels of each stage in `out_indices`."""
    expansion = BOTTLENECK_EXPANSION if has_bottlenecks(section.depth) else BASIC_EXPANSION
    return [section.base_channels * expansion * 2**index for index in section.out_indices]


def strides_of(section: ResNetConfig) -> list[int]:
    """Strides of each stage in `out_indices`."""
    return [STEM_STRIDE * 2**index for index in section.out_indices]


def check(section: ResNetConfig) -> Iterator[Problem]:
    """Contradictions between the keys."""
    if section.out_indices != sorted(set(section.out_indices)) or section.out_indices[-1] >= section.num_stages:
        yield "backbone.out_indices", f"is {section.out_indices}; stages grow from 0 to {section.num_stages - 1}"
        return
    if section.type == "resnext" and not has_bottlenecks(section.depth):
        yield "backbone.depth", f"is {section.depth}; resnext has bottleneck blocks: 50, 101 or 152"
    if section.type == "resnet" and (section.groups, section.base_width) != (1, 4):
        yield "backbone.groups", "and base_width are keys of resnext; set backbone.type: resnext"
    if section.stage_blocks is not None and len(section.stage_blocks) != section.num_stages:
        yield "backbone.stage_blocks", f"has {len(section.stage_blocks)} entries for {section.num_stages} stages"


def build(section: ResNetConfig) -> "nn.Cell":
    """The network."""
    from src.blocks.backbones import ResNet, ResNeXt
    from src.models.config_values import norm_of

    left_out = ("type", "norm_cfg", "pretrained")
    options = {name: getattr(section, name) for name in ResNetConfig.model_fields if name not in left_out}
    network = ResNeXt if section.type == "resnext" else ResNet
    return network(norm=norm_of(section.norm_cfg), **options)


def is_mindspore_classifier(arrays: Arrays) -> bool:
    """Whether these are weights of an ImageNet ResNet or ResNeXt of MindSpore's model zoo or of mindcv."""
    return any(name.startswith("layer") and (MODEL_ZOO_SHORTCUT in name or MINDCV_SHORTCUT in name) for name in arrays)


def from_mindspore_classifier(arrays: Arrays, eps: float) -> Arrays:
    """The backbone of MindSpore's ImageNet ResNets by mmdetection's names.

    Args:
        arrays: {their name: array}. The classifier (`end_point`, `classifier`) and the optimizer's state are left out.
        eps: epsilon of the batch normalizations that get the weights; gammas are scaled where theirs is another.

    Returns:
        {name with `backbone.` before it: array}.
    """
    renamed = {}
    for name, array in arrays.items():
        if not BACKBONE_NAME.fullmatch(name):
            continue
        module, _, leaf = name.rpartition(".")
        place = f"{module}.{PYTORCH_LEAVES.get(leaf, leaf)}"
        place = place.replace(MODEL_ZOO_SHORTCUT, ".downsample.").replace(MINDCV_SHORTCUT, ".downsample.")
        renamed["backbone." + MODEL_ZOO_BASIC_NORM.sub(r".bn\1.", place)] = array
    model_zoo = any(MODEL_ZOO_SHORTCUT in name for name in arrays)
    bottlenecks = any(name.endswith(".conv3.weight") for name in arrays)
    return renamed | rescaled_gammas(renamed, MODEL_ZOO_EPS if model_zoo and bottlenecks else OTHER_EPS, eps)


MINDSPORE_CLASSIFIER = PublishedFormat(
    matches=is_mindspore_classifier,
    convert=lambda arrays, config: from_mindspore_classifier(arrays, config.backbone.norm_cfg.eps),
    backbone=from_mindspore_classifier,
)
RESNET = BackboneSpec(
    ResNetConfig, build, channels_of, strides_of, checks=check, published_weights=(MINDSPORE_CLASSIFIER,)
)
