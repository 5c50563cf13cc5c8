"""Non-maximum suppression on the host."""

from src.ops.nms.nms import class_wise_nms
from src.ops.nms.soft_nms import soft_nms

__all__ = ["class_wise_nms", "soft_nms"]
