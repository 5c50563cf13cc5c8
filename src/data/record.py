"""What every reader produces and everything after the readers takes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from src.data.stored_image import StoredImage


@dataclass
class Record:
    """One image and its objects, on the host. Nothing after the readers knows the source format.

    Attributes:
        image: path of the image, its encoded bytes, or where they are stored.
        height, width: size in pixels that the annotations refer to.
        image_id: the data set's id of the image.
        boxes: float32 [G, 4], x1 y1 x2 y2 in pixels, inside the image.
        labels: int32 [G], 0..K-1.
        crowd: bool [G]; a crowd is never a training target.
        masks: a COCO polygon list or RLE for each object; None: not read.
        difficult: bool [G], Pascal VOC's flag: such an object neither counts nor makes its detection wrong in
            evaluation; None: none is.
    """

    image: str | bytes | StoredImage
    height: int
    width: int
    image_id: int
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    masks: Sequence | None = None
    difficult: np.ndarray | None = None

    @property
    def name(self) -> str:
        """The path, or a stand-in for an image that has none."""
        if isinstance(self.image, bytes):
            return f"<image {self.image_id}>"
        return self.image if isinstance(self.image, str) else self.image.name
