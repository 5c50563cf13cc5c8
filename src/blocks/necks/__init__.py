"""Necks: a backbone's feature maps in, the levels that the heads read out."""

from src.blocks.necks.fpn import FPN
from src.blocks.necks.nas_fpn import NASFPN
from src.blocks.necks.refinedet_levels import ResNetLevels, VGGLevels
from src.blocks.necks.tcb import TCB, TransferConnections

__all__ = ["FPN", "NASFPN", "TCB", "ResNetLevels", "TransferConnections", "VGGLevels"]
