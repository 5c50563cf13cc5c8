"""The backbones by their names in configurations (`backbone.type`). A new one is one file and one line here."""

from typing import TYPE_CHECKING

from src.models.backbones.resnet import RESNET
from src.models.backbones.spec import BackboneSpec
from src.models.backbones.spinenet import SPINENET
from src.models.backbones.vgg import VGG16
from src.schema.sections import BackboneConfig

if TYPE_CHECKING:
    from mindspore import nn

BACKBONES: dict[str, BackboneSpec] = {
    "spinenet": SPINENET,
    "resnet": RESNET,
    "resnext": RESNET,
    "vgg16": VGG16,
}


def spec_of_backbone(section: BackboneConfig) -> BackboneSpec:
    """The spec of a `backbone` section."""
    return BACKBONES[section.type]


def build_backbone(section: BackboneConfig) -> "nn.Cell":
    """The network of a `backbone` section, with initial weights; `pretrained` is left to the trainer."""
    return spec_of_backbone(section).build(section)
