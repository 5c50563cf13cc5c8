"""Heads that predict at every position of every level."""

from src.blocks.dense_heads.retina_sepbn_head import RetinaSepBNHead

DENSE_HEADS = {"retina_sepbn": RetinaSepBNHead}

__all__ = ["DENSE_HEADS", "RetinaSepBNHead"]
