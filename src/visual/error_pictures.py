"""An image twice: what is in it, and what was found, with what is worth looking at in red."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.data.image import ImageError, load_image
from src.data.record import Record
from src.evaluation.coco_matching import Objects
from src.visual.pictures import draw_objects, save_picture, side_by_side, with_title

PICTURE_SIDE = 480
GOOD, BAD, OTHER = (27, 158, 119), (220, 20, 40), (40, 100, 200)  # RGB


class Panel:
    """The objects or the detections of one image, as one half of a picture.

    Args:
        title: what stands over it.
        objects: those of the whole data set.
        rows: which of them to draw.
        bad: bool [N] of all `objects`: those to draw in red.
        usual: colour of the others.
        with_scores: whether scores follow the names.
    """

    def __init__(
        self,
        title: str,
        objects: Objects,
        rows: np.ndarray,
        bad: np.ndarray,
        usual: tuple[int, int, int] = GOOD,
        with_scores: bool = True,
    ) -> None:
        self.title = title
        # What is red is drawn last, on top of the rest.
        rows = rows[np.argsort(bad[rows], kind="stable")]
        self.boxes = objects.boxes[rows].copy()
        self.boxes[:, 2:] += self.boxes[:, :2]
        self.labels = objects.label[rows].tolist()
        self.crowd = objects.crowd[rows].tolist()
        self.colors = [BAD if one else usual for one in bad[rows]]
        self.names = [f"{score:.2f}" for score in objects.score[rows]] if with_scores else [""] * len(rows)

    def draw(self, image: np.ndarray, scale: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
        """The image with the objects; `scale` [4] turns boxes into its pixels."""
        texts = [f"{class_names[k]} {score}".rstrip() for k, score in zip(self.labels, self.names, strict=True)]
        drawn = draw_objects(
            image, self.boxes * scale, range(len(texts)), texts, crowd=self.crowd, least_side=PICTURE_SIDE,
            colors=self.colors,
        )  # fmt: skip
        return with_title(drawn, self.title)


def draw_panels(path: Path, record: Record, panels: Sequence[Panel], class_names: Sequence[str]) -> bool:
    """Draw the panels of an image side by side; False where it cannot be read.

    Args:
        path: picture to write.
        record: the image.
        panels: two or more.
        class_names: K names.
    """
    try:
        image = load_image(record.image, (record.height, record.width))
    except ImageError:
        return False
    scale = np.array([image.shape[1] / record.width, image.shape[0] / record.height] * 2)
    picture, *others = (panel.draw(image, scale, class_names) for panel in panels)
    for other in others:
        picture = side_by_side(picture, other)
    save_picture(path, picture)
    return True
