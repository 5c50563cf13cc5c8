"""Sums of two feature maps."""

from src.ops.map_sum.map_sum import AttentionSum, MapSum

__all__ = ["AttentionSum", "MapSum"]
