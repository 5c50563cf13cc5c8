"""What every reader produces and everything after the readers takes."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Record:
    """One image and its objects, on the host. Nothing after the readers knows the source format.

    Attributes:
        image: path of the image, or its encoded bytes.
        height, width: size in pixels that the annotations refer to.
        image_id: the data set's id of the image.
        boxes: float32 [G, 4], x1 y1 x2 y2 in pixels, inside the image.
        labels: int32 [G], 0..K-1.
        crowd: bool [G]; a crowd is never a training target.
        masks: a COCO polygon list or RLE for each object; None: not read.
    """

    image: str | bytes
    height: int
    width: int
    image_id: int
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    masks: list | None = None

    @property
    def name(self) -> str:
        """The path, or a stand-in for an image that has none."""
        return self.image if isinstance(self.image, str) else f"<image {self.image_id}>"
