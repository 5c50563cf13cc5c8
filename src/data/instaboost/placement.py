"""Where each group goes, and what every mask looks like afterwards. No pixel of the image is touched here.

Groups are placed in the order of their size, the largest first, each over those before. A place is taken only if every
instance keeps enough pixels inside the image and uncovered; otherwise the jitter is drawn again, and at last the group
stays. It can always stay: no group before was placed so that it would need the pixels of a later one.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from src.data.instaboost.jitter import Box
from src.data.instaboost.patches import covered, grow, union, view, warp
from src.data.masks import MaskPatch

TRIES = 5
MIN_VISIBLE = 0.25  # of an instance's pixels must stay inside the image and uncovered
EDGE = 2  # pixels that a blended edge reaches beyond a mask


@dataclass
class Placement:
    """A group at its new place.

    Attributes:
        members: indices of its instances.
        old: the instances' masks before, as one; `new`: after.
        matrix: float64 [2, 3], old pixel centres to new ones; None: the group stays.
    """

    members: list[int]
    old: MaskPatch
    new: MaskPatch
    matrix: np.ndarray | None


@dataclass
class Scene:
    """The instances' masks while groups are placed one after the other.

    Attributes:
        masks: masks of all objects; replaced as objects move or get covered.
        image_hw: size in pixels.
        fixed: uint8 [H, W], 1 where an object that never moves lies: nothing may be pasted there.
        waiting: uint8 [H, W], 1 where a group lies that has not been placed yet.
    """

    masks: list[MaskPatch]
    image_hw: tuple[int, int]
    fixed: np.ndarray
    waiting: np.ndarray
    placed: list[int] = field(default_factory=list)
    needed: dict[int, float] = field(default_factory=dict)

    def place(self, members: list[int], draw: Callable[[Box, MaskPatch], np.ndarray | None]) -> Placement:
        """Find a place for a group.

        Args:
            members: indices of its instances.
            draw: gives the matrix of a new jitter for a group with these extents and mask, or None: leave it.
        """
        old_masks = [self.masks[index] for index in members]
        old = union(old_masks)
        box = old.box
        view(self.waiting, box)[old.pixels != 0] = 0
        for _ in range(TRIES):
            matrix = draw(box, old)
            if matrix is None:
                break
            size = abs(float(np.linalg.det(matrix[:, :2])))
            moved = [warp(mask, matrix, self.image_hw) for mask in old_masks]
            needed = [max(MIN_VISIBLE * size * mask.area, 1) for mask in old_masks]
            new = self._take(members, moved, needed)
            if new is not None:
                return Placement(members, old, new, matrix)
        needed = [max(MIN_VISIBLE * mask.area, 1) for mask in old_masks]
        self._put(members, old_masks, needed, self._losses(old))
        return Placement(members, old, old, None)

    def _take(self, members: list[int], moved: list[MaskPatch], needed: list[float]) -> MaskPatch | None:
        """Put a group at a place, if all can be seen then. Returns its masks as one."""
        if any(self._seen(mask) < least for mask, least in zip(moved, needed, strict=True)):
            return None
        new = union(moved)
        if self._hits_fixed(new):
            return None
        losses = self._losses(new)
        if any(self._seen(mask) < self.needed[index] for index, mask in losses.items()):
            return None
        self._put(members, moved, needed, losses)
        return new

    def _put(
        self, members: list[int], moved: list[MaskPatch], needed: list[float], losses: dict[int, MaskPatch]
    ) -> None:
        """Take note of a group's masks at its place, and of what they cover."""
        for index, mask in losses.items():
            self.masks[index] = mask
        for index, mask, least in zip(members, moved, needed, strict=True):
            self.masks[index] = mask
            self.needed[index] = least
        self.placed += members

    def _seen(self, mask: MaskPatch) -> int:
        """Pixels of a mask that no waiting group may take if it stays where it is."""
        return np.count_nonzero(mask.pixels & ~view(self.waiting, mask.box))

    def _losses(self, new: MaskPatch) -> dict[int, MaskPatch]:
        """What is left of those placed before that a mask covers in part."""
        return {index: left for index in self.placed if (left := covered(self.masks[index], new)) is not None}

    def _hits_fixed(self, new: MaskPatch) -> bool:
        """Whether a mask with its blended edge touches an object that never moves."""
        window = grow(new.box, EDGE, self.image_hw)
        near = view(self.fixed, window)
        if not near.any():
            return False
        canvas = np.zeros_like(near)
        view(canvas, new.box, window[:2])[:] = new.pixels
        reach = cv2.dilate(canvas, np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8))
        return bool(np.any(reach & near))
