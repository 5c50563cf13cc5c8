"""Non-maximum suppression on the host."""

from src.ops.nms.nms import class_wise_nms

__all__ = ["class_wise_nms"]
