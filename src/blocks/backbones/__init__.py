"""Backbones: images in, a tuple of feature maps out."""

from src.blocks.backbones.spinenet import SpineNet

BACKBONES = {"spinenet": SpineNet}

__all__ = ["BACKBONES", "SpineNet"]
