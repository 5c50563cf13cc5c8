"""Where an instance fits: the appearance-consistency map of the paper (section 3.3), on a coarse grid.

Three rings around a group, 4 pixels wide each, are compared with the background at every other place where they lie in
the image; the nearer the ring, the more it counts. Both are averaged over cells, so that all places of a group are one
masked template match of about 100 x 100 cells.
"""

import cv2
import numpy as np

from src.data.instaboost.inpaint import diffuse, shrink
from src.data.instaboost.jitter import Contact
from src.data.instaboost.patches import grow, intersection, paint, view
from src.data.masks import MaskPatch

CELLS = 96  # along the longer side of the image, at most
RING_WIDTH = 4  # pixels
RING_WEIGHTS = (0.40, 0.35, 0.25)  # from the innermost
SHARPNESS = 3  # exponent of the map: consistency is (1 - distance / greatest distance) ** 3
FITTING = (200 / 255, 150 / 255)  # places at least this consistent, relative to the best, are drawn from alike ...
LOOSE_PROBABILITY = 0.4  # ... the second bound this often


class AppearanceMap:
    """The coarse image and its background without instances, for all groups of one image.

    Args:
        image: uint8 [H, W, 3].
        occupied: uint8 [H, W], not 0 on and near instances.
    """

    def __init__(self, image: np.ndarray, occupied: np.ndarray) -> None:
        self.cell = max(-(-max(image.shape[:2]) // CELLS), 1)
        rows, columns = image.shape[0] // self.cell, image.shape[1] // self.cell
        self.hw = (rows * self.cell, columns * self.cell)
        self.background: np.ndarray | None = None
        if not rows or not columns:
            return
        image, occupied = image[: self.hw[0], : self.hw[1]], occupied[: self.hw[0], : self.hw[1]]
        known = cv2.compare(occupied, 0, cv2.CMP_EQ)
        self.coarse = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA).astype(np.float32)
        self.background = diffuse(shrink(cv2.copyTo(image, known, np.zeros_like(image)), known, self.cell))

    def consistency(self, mask: MaskPatch) -> tuple[np.ndarray, tuple[int, int]] | None:
        """How well a group fits elsewhere.

        Args:
            mask: its instances.

        Returns:
            float32 [rows, columns], 0..1, the best is 1: one value for each place, a cell apart, where the rings lie
            in the image; and the (row, column) of the place where the group is. None: there is nothing to compare.
        """
        found = self._rings(mask)
        if found is None:
            return None
        weights, row, column = found
        rows, columns = weights.shape
        template = np.ascontiguousarray(self.coarse[row : row + rows, column : column + columns])
        squares = cv2.matchTemplate(self.background, template, cv2.TM_SQDIFF, mask=np.sqrt(weights))
        distance = np.sqrt(np.maximum(squares, 0))
        worst = distance.max()
        if worst <= 0:
            return np.ones_like(distance), (row, column)
        consistency = (1 - distance / worst) ** SHARPNESS
        best = consistency.max()
        return (consistency / best if best > 0 else np.ones_like(distance)), (row, column)

    def draw_shift(self, mask: MaskPatch, contact: Contact, rng: np.random.Generator) -> tuple[int, int] | None:
        """A shift (dx, dy) in pixels to a place that fits; None: there is nothing to compare."""
        found = self.consistency(mask)
        if found is None:
            return None
        consistency, (row, column) = found
        rows, columns = np.ogrid[: consistency.shape[0], : consistency.shape[1]]
        for barred in (
            columns > column if contact.left else None,
            columns < column if contact.right else None,
            rows > row if contact.top else None,
            rows < row if contact.bottom else None,
        ):
            if barred is not None:
                consistency = np.where(barred, 0, consistency)
        bound = FITTING[1] if rng.random() < LOOSE_PROBABILITY else FITTING[0]
        places = np.argwhere(consistency >= bound * consistency.max())
        place = places[rng.integers(len(places))] - (row, column)
        # A cell stands for all the pixels in it.
        dy, dx = np.round((place + rng.uniform(-0.5, 0.5, 2)) * self.cell).astype(int)
        return contact.limit_shift(int(dx), int(dy))

    def _rings(self, mask: MaskPatch) -> tuple[np.ndarray, int, int] | None:
        """Weights float32 [rows, columns] of the cells around a group, and the first row and column of them."""
        cell = self.cell
        x1, y1, x2, y2 = grow(mask.box, len(RING_WEIGHTS) * RING_WIDTH, self.hw)
        box = x1 // cell * cell, y1 // cell * cell, -(-x2 // cell) * cell, -(-y2 // cell) * cell
        if self.background is None or box[2] <= box[0] or box[3] <= box[1]:
            return None
        inner = np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
        inside = intersection(mask.box, box)
        if inside is not None:
            pixels = view(mask.pixels, inside, (mask.left, mask.top))
            paint(inner, MaskPatch(pixels, inside[0], inside[1]), 1, box[:2])
        kernel = np.ones((2 * RING_WIDTH + 1, 2 * RING_WIDTH + 1), np.uint8)
        weights = np.zeros((inner.shape[0] // cell, inner.shape[1] // cell), np.float32)
        for weight in RING_WEIGHTS:
            outer = cv2.dilate(inner, kernel)
            ring = cv2.bitwise_xor(outer, inner) * np.uint8(255)
            weights += weight * cv2.resize(ring, weights.shape[::-1], interpolation=cv2.INTER_AREA)
            inner = outer
        return (weights, box[1] // cell, box[0] // cell) if weights.max() > 0 else None
