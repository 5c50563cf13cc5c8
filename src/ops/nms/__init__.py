"""Non-maximum suppression, on the host and within graphs."""

from src.ops.nms.nms import class_wise_nms
from src.ops.nms.soft_nms import soft_nms
from src.ops.nms.suppression import Suppression

__all__ = ["Suppression", "class_wise_nms", "soft_nms"]
