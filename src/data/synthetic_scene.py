"""One synthetic image: objects on a textured background that hide each other, with exact visible masks."""

from dataclasses import dataclass

import cv2
import numpy as np

from src.data.synthetic_shapes import SHAPES, contrasting_colour, coverage, grain, random_background, random_outline

BACKGROUND = -1


@dataclass(frozen=True)
class SceneOptions:
    """What an image looks like. Sizes are pixels of an object's longer side, shares are probabilities."""

    width: int = 128
    height: int = 128
    classes: int = 4
    min_object: int = 16
    max_object: int = 100
    min_objects: int = 1
    max_objects: int = 5
    min_visible: float = 0.6
    empty_share: float = 0.04
    crowd_share: float = 0.04

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in label order."""
        return list(SHAPES)[: self.classes]


@dataclass
class SceneObject:
    """An object (or a crowd) of a scene.

    Attributes:
        label: 0..K-1.
        mask: bool [H, W], what can be seen of it.
        outline: float64 [n, 2], x y in pixels; of a crowd: empty.
        full_area: pixels it would have, were nothing before it and did the image not end.
    """

    label: int
    mask: np.ndarray
    outline: np.ndarray
    full_area: float
    crowd: bool = False
    drawn_pixels: int = 0

    def __post_init__(self) -> None:
        self.drawn_pixels = int(self.mask.sum())

    @property
    def whole(self) -> bool:
        """Whether it is a single object of which nothing is hidden or beyond the border."""
        if self.crowd or self.mask.sum() != self.drawn_pixels:
            return False
        return bool((self.outline >= 0).all() and (self.outline <= self.mask.shape[::-1]).all())

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height: of the outline when all of it can be seen, else of the visible pixels."""
        if not self.whole:
            return bounding_box(self.mask)
        low, high = self.outline.min(axis=0), self.outline.max(axis=0)
        x, y, width, height = (round(float(value), 2) for value in (*low, *(high - low)))
        return x, y, width, height


def random_scene(options: SceneOptions, rng: np.random.Generator) -> tuple[np.ndarray, list[SceneObject]]:
    """Draw one image.

    Returns:
        (uint8 [H, W, 3] RGB, objects in drawing order). Every object shows at least `min_visible` of its area and a box
        of at least `min_object` on its longer side and half of that on the shorter.
    """
    image = random_background(options.height, options.width, rng)
    owner = np.full((options.height, options.width), BACKGROUND, np.int32)
    objects: list[SceneObject] = []
    if rng.random() >= options.empty_share:
        if rng.random() < options.crowd_share:
            _add_crowd(image, owner, objects, options, rng)
        for _ in range(int(rng.integers(options.min_objects, options.max_objects + 1))):
            _add_object(image, owner, objects, options, rng)
    for index, found in enumerate(objects):
        found.mask = owner == index
    return np.clip(np.round(image), 0, 255).astype(np.uint8), objects


def _add_object(
    image: np.ndarray, owner: np.ndarray, objects: list[SceneObject], options: SceneOptions, rng: np.random.Generator
) -> None:
    """Try some places for a new object; the first where everything stays visible enough is taken."""
    for _ in range(12):
        label = int(rng.integers(options.classes))
        size = np.exp(rng.uniform(np.log(options.min_object), np.log(options.max_object)))
        outline = random_outline(options.class_names[label], size, rng)
        margin = 0.45 * size
        extent = np.array([options.width, options.height])
        outline = outline + rng.uniform(np.minimum(margin, extent / 2), np.maximum(extent - margin, extent / 2))
        cover, rows, columns = coverage(outline, options.height, options.width)
        mask = np.zeros(owner.shape, bool)
        mask[rows, columns] = cover >= 0.5
        candidate = SceneObject(label, mask, outline, cv2.contourArea(outline.astype(np.float32)))
        if _fits(candidate, owner, objects, options):
            _paint(image, cover, rows, columns, rng)
            owner[mask] = len(objects)
            objects.append(candidate)
            return


def _add_crowd(
    image: np.ndarray, owner: np.ndarray, objects: list[SceneObject], options: SceneOptions, rng: np.random.Generator
) -> None:
    """A cluster of small shapes of one class, annotated as one crowd."""
    label = int(rng.integers(options.classes))
    size = max(options.min_object * 0.5, 5.0)
    spread = 2.2 * size
    extent = np.array([options.width, options.height])
    centre = rng.uniform(np.minimum(spread, extent / 2), np.maximum(extent - spread, extent / 2))
    union = np.zeros(owner.shape, bool)
    for _ in range(int(rng.integers(8, 15))):
        outline = random_outline(options.class_names[label], size, rng) + centre + rng.uniform(-spread, spread, 2)
        cover, rows, columns = coverage(outline, options.height, options.width)
        if cover.size:
            _paint(image, cover, rows, columns, rng)
            union[rows, columns] |= cover >= 0.5
    owner[union] = len(objects)
    objects.append(SceneObject(label, union, np.zeros((0, 2)), float(union.sum()), crowd=True))


def _fits(candidate: SceneObject, owner: np.ndarray, objects: list[SceneObject], options: SceneOptions) -> bool:
    """Whether the candidate, and each object that it would cover in part, can still be seen well enough."""
    if not _visible_enough(candidate, candidate.mask, options):
        return False
    covered = np.unique(owner[candidate.mask])
    return all(
        _visible_enough(objects[index], (owner == index) & ~candidate.mask, options)
        for index in covered
        if index != BACKGROUND
    )


def _visible_enough(thing: SceneObject, visible: np.ndarray, options: SceneOptions) -> bool:
    if visible.sum() < options.min_visible * thing.full_area:
        return False
    _, _, width, height = bounding_box(visible)
    return max(width, height) >= options.min_object - 1 and min(width, height) >= options.min_object / 2


def _paint(image: np.ndarray, cover: np.ndarray, rows: slice, columns: slice, rng: np.random.Generator) -> None:
    """Blend a shaded, slightly grainy colour that stands out from what is there into a window of the image."""
    window = image[rows, columns]
    height, width = cover.shape
    colour = contrasting_colour(window.reshape(-1, 3), rng).astype(np.float32)
    first, last = rng.uniform(-15, 15, 2)
    shade = np.linspace(first, last, width, dtype=np.float32)[None, :, None]
    filled = colour + shade + grain(height, width, rng, 5.0)
    window += cover[..., None] * (filled - window)


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x, y, width, height around the true pixels of a bool [H, W] mask; zeros when there are none."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(columns):
        return 0, 0, 0, 0
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y
