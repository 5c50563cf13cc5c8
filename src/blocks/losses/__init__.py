"""Losses: each returns one value per element or row, unreduced, so that callers weigh and normalise."""

from src.blocks.losses.box_losses import BoxLoss, LossWeights, box_loss, l1_loss, smooth_l1_loss
from src.blocks.losses.cross_entropy import sigmoid_cross_entropy, softmax_cross_entropy
from src.blocks.losses.focal_loss import SigmoidFocalLoss

__all__ = [
    "BoxLoss",
    "LossWeights",
    "SigmoidFocalLoss",
    "box_loss",
    "l1_loss",
    "sigmoid_cross_entropy",
    "smooth_l1_loss",
    "softmax_cross_entropy",
]
