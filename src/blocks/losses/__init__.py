"""Losses: each returns one value an element, unreduced, so that callers weigh and normalise."""

from src.blocks.losses.box_losses import l1_loss, smooth_l1_loss
from src.blocks.losses.focal_loss import SigmoidFocalLoss

__all__ = ["SigmoidFocalLoss", "l1_loss", "smooth_l1_loss"]
