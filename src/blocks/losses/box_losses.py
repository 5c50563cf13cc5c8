"""Losses of box deltas."""

from typing import NamedTuple

from mindspore import Tensor, ops


class BoxLoss(NamedTuple):
    """Which loss of box deltas: `smooth_l1` with beta, or `l1`."""

    type: str = "smooth_l1"
    beta: float = 0.11


class LossWeights(NamedTuple):
    """Factors of a classification and of a localization loss."""

    loss_cls: float = 1.0
    loss_bbox: float = 1.0


def l1_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """|prediction - target|, element by element."""
    return ops.abs(prediction - target)


def smooth_l1_loss(prediction: Tensor, target: Tensor, beta: float) -> Tensor:
    """0.5 d**2 / beta where d = |prediction - target| < beta, else d - 0.5 beta (Fast R-CNN, equation 3)."""
    distance = ops.abs(prediction - target)
    # With q = min(d, beta): q**2 / (2 beta) + (d - q) is the same without a choice between two branches.
    near = ops.minimum(distance, beta)
    return near * near * (0.5 / beta) + (distance - near)


def box_loss(loss: BoxLoss, prediction: Tensor, target: Tensor) -> Tensor:
    """The loss that `loss` names, element by element."""
    if loss.type == "l1":
        return l1_loss(prediction, target)
    return smooth_l1_loss(prediction, target, loss.beta)
