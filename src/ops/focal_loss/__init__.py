"""The sigmoid focal loss with its derivative."""

from src.ops.focal_loss.focal_loss import focal_loss

__all__ = ["focal_loss"]
