"""What both backends are told, checked once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.common.errors import UserError

ACTIONS = ("normal", "horizontal", "vertical", "skip")


@dataclass(frozen=True)
class Settings:
    """The published keys.

    Attributes:
        action_candidate: what may be done with a group of instances: "normal" jitters it, "horizontal" and "vertical"
            mirror it as well, "skip" leaves it.
        action_prob: the probability of each; they add up to 1.
        scale: least and greatest factor of size.
        dx, dy: the shift is at most width / dx and height / dy of the group, rounded down to pixels.
        theta: least and greatest rotation in degrees.
        color_prob: how often the whole augmented image changes its colours.
        aug_prob: how often an image is augmented at all.
        heatmap_flag: draw the shift from the appearance-consistency map instead of dx and dy.
        hard_edge: paste with a hard edge; otherwise the edge blends into the background.
    """

    action_candidate: Sequence[str] = ("normal", "horizontal", "skip")
    action_prob: Sequence[float] = (1, 0, 0)
    scale: Sequence[float] = (0.8, 1.2)
    dx: float = 15
    dy: float = 15
    theta: Sequence[float] = (-1, 1)
    color_prob: float = 0.5
    aug_prob: float = 0.5
    heatmap_flag: bool = False
    hard_edge: bool = True

    def __post_init__(self) -> None:
        unknown = [action for action in self.action_candidate if action not in ACTIONS]
        if unknown or not self.action_candidate:
            raise UserError(f"action_candidate: {unknown} are none of {', '.join(ACTIONS)}")
        probabilities = np.asarray(self.action_prob, np.float64)
        if len(probabilities) != len(self.action_candidate):
            raise UserError(
                f"action_prob has {len(probabilities)} values for the {len(self.action_candidate)} of action_candidate"
            )
        if probabilities.min() < 0 or abs(probabilities.sum() - 1) > 1e-6:
            raise UserError(f"action_prob: {list(self.action_prob)} are not probabilities that add up to 1")
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(f"scale: {list(self.scale)} is not [least, greatest] factor above 0")
        if len(self.theta) != 2 or self.theta[0] > self.theta[1]:
            raise UserError(f"theta: {list(self.theta)} is not [least, greatest] angle in degrees")
        for name in ("dx", "dy"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name}: {getattr(self, name)} is not above 0")
        for name in ("color_prob", "aug_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name}: {getattr(self, name)} is not within 0 to 1")
