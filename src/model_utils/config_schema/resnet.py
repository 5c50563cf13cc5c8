"""Keys of ResNet and ResNeXt backbones."""

from typing import Annotated, Literal

from pydantic import Field

from src.model_utils.config_schema.sections import NormConfig, PositiveInt, Section, key


class ResNetConfig(Section):
    type: Literal["resnet", "resnext"] = key("resnet", "backbone type (resnet or resnext)")
    depth: Literal[18, 34, 50, 101, 152] = key(50, "backbone depth")
    pretrained: str = key("", "path to weights pretrained on ImageNet (.ckpt, .pth, .safetensors or .npz)")
    frozen_stages: Annotated[int, Field(ge=-1, le=4)] = key(
        -1, "stages that do not train: 0 the stem, n the stem and n stages; use it if pretrained; -1: all train"
    )
    norm_eval: bool = key(True, "batch normalization uses the stored statistics in training too; use it if pretrained")
    num_stages: Annotated[int, Field(ge=1, le=4)] = key(4, "number of stages")
    out_indices: list[Annotated[int, Field(ge=0, le=3)]] = key(
        [0, 1, 2, 3], "stages whose outputs go to the neck", min_length=1
    )
    groups: PositiveInt = key(1, "groups of the 3x3 convolutions (only resnext)")
    base_width: PositiveInt = key(4, "channels a group, at 64 base_channels (only resnext)")
    base_channels: PositiveInt = key(64, "channels of the stem; every stage scales with it")
    stage_blocks: list[PositiveInt] | None = key(None, "residual blocks a stage; empty: the depth's")
    zero_init_residual: bool = key(True, "start with a zero gamma in the last BN of each residual branch")
    norm_cfg: NormConfig = key(NormConfig(momentum=0.1, eps=1e-5), "batch normalization of the backbone")
