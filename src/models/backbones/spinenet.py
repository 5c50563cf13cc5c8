"""SpineNet in configurations."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from src.blocks.architectures import SPINENET_LEVELS, SPINENET_SCALINGS
from src.models.api import Problem
from src.models.backbones.spec import BackboneSpec
from src.schema.sections import Activation, BackboneConfig, Channels, Layers, NormConfig, Text, key

if TYPE_CHECKING:
    from mindspore import nn


class SpineNetConfig(BackboneConfig):
    """Keys of SpineNet."""

    type: Literal["spinenet"] = key("spinenet", "backbone type: spinenet, or resnet with NAS-FPN")
    arch: Text = key("49", "backbone architecture: 49S, 49, 96, 143 or 190")
    width: Annotated[float, Field(gt=0, le=100)] | None = key(
        None, "factor on the number of filters; empty: the architecture's"
    )
    out_channels: Channels | None = key(None, "channels of each endpoint; empty: the architecture's")
    block_repeats: Layers | None = key(None, "residual blocks per scale-permuted block; empty: the architecture's")
    act: Activation = key("relu", "activation inside the backbone")
    endpoint_act: Literal["none", "relu", "swish"] = key(
        "none", "activation after the endpoints: none in PyTorch checkpoints, relu or swish in TensorFlow's"
    )
    zero_init_residual: bool = key(False, "start with a zero gamma in the last BN of each residual branch")
    norm_cfg: NormConfig = key(NormConfig(), "batch normalization of the backbone")


def channels_of(section: SpineNetConfig) -> list[int]:
    """Channels of each endpoint."""
    channels = section.out_channels or SPINENET_SCALINGS[section.arch].out_channels
    return [channels for _ in SPINENET_LEVELS]


def strides_of(section: SpineNetConfig) -> list[int]:
    """Strides of the endpoints."""
    return [2**level for level in SPINENET_LEVELS]


def check(section: SpineNetConfig) -> Iterator[Problem]:
    """Contradictions between the keys."""
    if section.arch not in SPINENET_SCALINGS:
        yield "backbone.arch", f"is '{section.arch}'; known are {', '.join(SPINENET_SCALINGS)}"


def build(section: SpineNetConfig) -> "nn.Cell":
    """The network."""
    from src.blocks.backbones import SpineNet
    from src.models.config_values import norm_of, options_of

    return SpineNet(norm=norm_of(section.norm_cfg), **options_of(section, "type", "norm_cfg", "pretrained"))


SPINENET = BackboneSpec(SpineNetConfig, build, channels_of, strides_of, "pyramid", check)
