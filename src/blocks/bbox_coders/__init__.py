"""Boxes as regression targets."""

from src.blocks.bbox_coders.delta_xywh_bbox_coder import DeltaXYWHBBoxCoder

__all__ = ["DeltaXYWHBBoxCoder"]
