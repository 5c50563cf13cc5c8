"""Backbones: images in, a tuple of feature maps out."""

from src.blocks.backbones.resnet import ResNet, ResNeXt
from src.blocks.backbones.spinenet import SpineNet
from src.blocks.backbones.vgg import VGG16

__all__ = ["VGG16", "ResNeXt", "ResNet", "SpineNet"]
