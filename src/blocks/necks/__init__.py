"""Necks: a backbone's feature maps in, the levels that the heads read out."""

from src.blocks.necks.fpn import FPN

NECKS = {"fpn": FPN}

__all__ = ["FPN", "NECKS"]
