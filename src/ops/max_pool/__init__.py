"""Max pooling."""

from src.ops.max_pool.max_pool import DownsampleMax, MaxPool2d

__all__ = ["DownsampleMax", "MaxPool2d"]
