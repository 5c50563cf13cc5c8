"""Batch normalization, by a kernel of this project on the CPU."""

from src.ops.batch_norm.batch_norm import BatchNorm2d

__all__ = ["BatchNorm2d"]
