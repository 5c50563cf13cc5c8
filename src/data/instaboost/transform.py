"""The native InstaBoost as a transform of a sample."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from src.common.errors import UserError
from src.data.instaboost.color import jitter_color
from src.data.instaboost.groups import find_groups, find_movable
from src.data.instaboost.heatmap import AppearanceMap
from src.data.instaboost.jitter import Box, Contact, draw_action, draw_jitter
from src.data.instaboost.patches import hull, paint
from src.data.instaboost.placement import Scene
from src.data.instaboost.render import grown, render
from src.data.instaboost.settings import Settings
from src.data.masks import MaskPatch
from src.data.sample import Sample


class InstaBoost:
    """Cut instances out, jitter them, and paste them back over a background filled in where they were.

    Instances with overlapping boxes move together. Groups with a crowd, with an object without a mask, or with one
    whose box disagrees with its mask, stay, and nothing is pasted over such objects. Boxes of objects that moved or
    that are now covered in part become the extents of their masks. No object is lost: each keeps at least a quarter of
    its pixels inside the image and uncovered, or else the group that is to blame keeps its place. Labels and the
    number and order of the objects stay the same.

    It runs before any geometric transform, on the decoded image. Arguments: see `Settings`.
    """

    def __init__(self, **settings: Any) -> None:
        """Raises UserError for impossible values."""
        self.settings = Settings(**settings)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Raises UserError for a sample whose masks were not read."""
        settings = self.settings
        if rng.random() >= settings.aug_prob:
            return sample
        if sample.masks is None:
            raise UserError("InstaBoost needs masks: use a model with a mask head, or set aug_prob to 0")
        sample = self._move(sample, sample.masks, rng)
        if rng.random() < settings.color_prob:
            sample = replace(sample, image=jitter_color(sample.image, rng))
        return sample

    def _move(self, sample: Sample, masks: list[MaskPatch], rng: np.random.Generator) -> Sample:
        image, image_hw = sample.image, sample.image_hw
        movable = find_movable(sample.boxes, sample.crowd, masks)
        groups = find_groups(sample.boxes, masks, movable)
        if not groups:
            return sample
        scene = _scene(masks, groups, image_hw)
        occupied = scene.fixed | scene.waiting
        near = grown(occupied)
        fits = AppearanceMap(image, near) if self.settings.heatmap_flag else None
        placements = [scene.place(group, self._drawing(image_hw, fits, rng)) for group in _largest_first(masks, groups)]
        moved = {index for placement in placements if placement.matrix is not None for index in placement.members}
        if not moved:
            return sample
        return replace(
            sample,
            image=render(image, occupied, near, placements, self.settings.hard_edge),
            boxes=_follow(sample.boxes, masks, scene.masks),
            masks=scene.masks,
        )

    def _drawing(
        self, image_hw: tuple[int, int], fits: AppearanceMap | None, rng: np.random.Generator
    ) -> Callable[[Box, MaskPatch], np.ndarray | None]:
        """A function that draws matrices for one group, the action only once."""
        action = None

        def draw(box: Box, mask: MaskPatch) -> np.ndarray | None:
            nonlocal action
            contact = Contact.of(box, image_hw)
            action = action or draw_action(self.settings, contact, rng)
            if action == "skip":
                return None
            jitter = draw_jitter(self.settings, action, box, contact, rng)
            shift = fits.draw_shift(mask, contact, rng) if fits else None
            if shift is not None:
                jitter = jitter._replace(dx=shift[0], dy=shift[1])
            return jitter.matrix(box)

        return draw


def _scene(masks: list[MaskPatch], groups: list[list[int]], image_hw: tuple[int, int]) -> Scene:
    """Everything where it is."""
    fixed, waiting = np.zeros(image_hw, np.uint8), np.zeros(image_hw, np.uint8)
    moving = {index for group in groups for index in group}
    for index, mask in enumerate(masks):
        paint(waiting if index in moving else fixed, mask)
    return Scene(list(masks), image_hw, fixed, waiting)


def _largest_first(masks: list[MaskPatch], groups: list[list[int]]) -> list[list[int]]:
    def area(group: list[int]) -> int:
        x1, y1, x2, y2 = hull([masks[index].box for index in group])
        return (x2 - x1) * (y2 - y1)

    return sorted(groups, key=area, reverse=True)


def _follow(boxes: np.ndarray, old: list[MaskPatch], new: list[MaskPatch]) -> np.ndarray:
    """float32 [G, 4]: the extents of the masks that changed; the other boxes as they were."""
    boxes = boxes.copy()
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        if after is not before:
            boxes[index] = after.box
    return boxes
