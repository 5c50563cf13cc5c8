"""From a configuration's `backbone` section to a network."""

from mindspore import nn

from src.blocks.backbones import BACKBONES
from src.blocks.detectors.config_values import norm_of, options_of


def build_backbone(section) -> nn.Cell:
    """The backbone that `section.type` names, with initial weights; `pretrained` is left to the trainer."""
    norm = norm_of(section.norm_cfg)
    if section.type == "vgg16":
        return BACKBONES["vgg16"](base_channels=section.base_channels, norm=norm if section.with_bn else None)
    options = options_of(section, "type", "norm_cfg", "pretrained", "with_bn")
    return BACKBONES[section.type](norm=norm, **options)
