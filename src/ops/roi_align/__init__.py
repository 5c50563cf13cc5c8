"""RoIAlign by kernels of this project, and the forms of it that exported files hold."""

from src.ops.roi_align.roi_align import RoIAlign

__all__ = ["RoIAlign"]
