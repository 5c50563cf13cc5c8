"""Necks: a backbone's feature maps in, the levels that the heads read out."""

from src.blocks.necks.fpn import FPN
from src.blocks.necks.nas_fpn import NASFPN
from src.blocks.necks.refinedet_levels import ResNetLevels, VGGLevels
from src.blocks.necks.tcb import TCB, TransferConnections

NECKS = {"fpn": FPN, "nas_fpn": NASFPN}

__all__ = ["FPN", "NASFPN", "NECKS", "TCB", "ResNetLevels", "TransferConnections", "VGGLevels"]
