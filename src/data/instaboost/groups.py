"""Which instances move, and which of them move together."""

import numpy as np

from src.data.masks import MaskPatch

BOX_SLACK_PIXELS = 2.0
BOX_SLACK_RATIO = 0.05  # of the box's width and height


def find_movable(boxes: np.ndarray, crowd: np.ndarray, masks: list[MaskPatch]) -> np.ndarray:
    """Which instances may move: no crowds, with a mask, and with a box that agrees with it.

    A box that its mask does not explain (wrong, or of parts that are not segmented) could not follow the mask.

    Args:
        boxes: float32 [G, 4], x1 y1 x2 y2 in pixels.
        crowd: bool [G].
        masks: G patches.

    Returns:
        bool [G].
    """
    if not masks:
        return np.zeros(0, bool)
    around = np.array([mask.box for mask in masks], np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    slack = BOX_SLACK_PIXELS + BOX_SLACK_RATIO * np.concatenate([sides, sides], axis=1)
    agrees = np.all(np.abs(around - boxes) <= slack, axis=1)
    filled = np.array([mask.area > 0 for mask in masks])
    return filled & agrees & ~crowd


def find_groups(boxes: np.ndarray, masks: list[MaskPatch], movable: np.ndarray) -> list[list[int]]:
    """Instances whose boxes overlap, also through others, move together, as in instaboostfast.

    Args:
        boxes: float32 [G, 4]; read only where they disagree with the mask.
        masks: the objects' masks, whose extents count as boxes.
        movable: bool [G]; a group with one that is not movable stays as a whole.

    Returns:
        The groups that may move, as ascending indices, in order of their first.
    """
    extents = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    x1, y1, x2, y2 = np.where(movable[:, None], extents, boxes).T
    across = (x1[:, None] < x2) & (x1 < x2[:, None])
    touching = across & (y1[:, None] < y2) & (y1 < y2[:, None])
    groups, free = [], np.ones(len(boxes), bool)
    for first in range(len(boxes)):
        if not free[first]:
            continue
        members = np.zeros(len(boxes), bool)
        members[first] = True
        while True:
            reached = members | np.any(touching[members], axis=0)
            if np.array_equal(reached, members):
                break
            members = reached
        free &= ~members
        if np.all(movable[members]):
            groups.append(np.flatnonzero(members).tolist())
    return groups
