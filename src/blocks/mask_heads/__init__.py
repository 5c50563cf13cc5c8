"""Mask heads: logits of a mask per class for each region of interest."""

from src.blocks.mask_heads.fcn_mask_head import FCNMaskHead
from src.blocks.mask_heads.mask_targets import MaskTargets

__all__ = ["FCNMaskHead", "MaskTargets"]
