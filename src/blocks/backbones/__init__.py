"""Backbones: images in, a tuple of feature maps out."""

from src.blocks.backbones.resnet import ResNet, ResNeXt
from src.blocks.backbones.spinenet import SpineNet

BACKBONES = {"resnet": ResNet, "resnext": ResNeXt, "spinenet": SpineNet}

__all__ = ["BACKBONES", "ResNeXt", "ResNet", "SpineNet"]
