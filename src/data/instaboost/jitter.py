"""What happens to a group of instances: an action, a shift, a scale and a rotation about the group's centre."""

from typing import NamedTuple

import numpy as np

from src.data.instaboost.settings import Settings

BORDER = 10  # pixels; a group nearer to an image border than this counts as cut off by it (as in instaboostfast)

Box = tuple[int, int, int, int]  # x1 y1 x2 y2 in pixels, x2 and y2 just outside


class Contact(NamedTuple):
    """The image borders that a group is at. What the image cuts off must not come loose from its border."""

    left: bool
    top: bool
    right: bool
    bottom: bool

    @classmethod
    def of(cls, box: Box, image_hw: tuple[int, int]) -> "Contact":
        """The borders that a box is at."""
        x1, y1, x2, y2 = box
        return cls(x1 < BORDER, y1 < BORDER, x2 > image_hw[1] - BORDER, y2 > image_hw[0] - BORDER)

    def limit_shift(self, dx: int, dy: int) -> tuple[int, int]:
        """The shift without its part that leads away from a border in contact."""
        dx = min(dx, 0) if self.left else dx
        dx = max(dx, 0) if self.right else dx
        dy = min(dy, 0) if self.top else dy
        dy = max(dy, 0) if self.bottom else dy
        return dx, dy


class Jitter(NamedTuple):
    """One draw: shift in pixels, factor of size, degrees, and which axes are mirrored."""

    dx: int = 0
    dy: int = 0
    scale: float = 1.0
    theta: float = 0.0
    mirror_x: bool = False
    mirror_y: bool = False

    def matrix(self, box: Box) -> np.ndarray:
        """float64 [2, 3]: old pixel centres to new ones; mirrors, scales and rotates about the centre of `box`."""
        centre = np.array([(box[0] + box[2] - 1) / 2, (box[1] + box[3] - 1) / 2])
        cos, sin = np.cos(np.radians(self.theta)), np.sin(np.radians(self.theta))
        turn = self.scale * np.array([[cos, -sin], [sin, cos]])
        turn = turn * [-1 if self.mirror_x else 1, -1 if self.mirror_y else 1]
        return np.column_stack([turn, centre + [self.dx, self.dy] - turn @ centre])


def draw_action(settings: Settings, contact: Contact, rng: np.random.Generator) -> str:
    """An action; a group at a border is not mirrored: the other candidates share its probability, or it is skipped."""
    probabilities = np.array(settings.action_prob, np.float64)
    if any(contact):
        probabilities[[action in ("horizontal", "vertical") for action in settings.action_candidate]] = 0
    total = probabilities.sum()
    if total == 0:
        return "skip"
    index = np.searchsorted(np.cumsum(probabilities / total), rng.random(), side="right")
    return settings.action_candidate[min(int(index), len(probabilities) - 1)]


def draw_jitter(settings: Settings, action: str, box: Box, contact: Contact, rng: np.random.Generator) -> Jitter:
    """A jitter for an action other than "skip", distributed as instaboostfast's.

    The shift is uniform over whole pixels within (width // dx, height // dy); the angle over whole degrees where both
    bounds are whole, else continuous. A group at a border neither shrinks nor turns nor leaves that border.
    """
    most_x, most_y = int((box[2] - box[0]) // settings.dx), int((box[3] - box[1]) // settings.dy)
    scale = float(rng.uniform(settings.scale[0], settings.scale[1]))
    dx, dy = int(rng.integers(-most_x, most_x + 1)), int(rng.integers(-most_y, most_y + 1))
    low, high = settings.theta
    whole = float(low).is_integer() and float(high).is_integer()
    theta = float(rng.integers(int(low), int(high) + 1) if whole else rng.uniform(low, high))
    if any(contact):
        scale, theta = max(scale, 1.0), 0.0
        dx, dy = contact.limit_shift(dx, dy)
    return Jitter(dx, dy, scale, theta, action == "horizontal", action == "vertical")
