"""Pictures of a data set for its report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.data.image import ImageError, load_image
from src.data.record import Record
from src.visual.pictures import draw_objects, save_picture, side_by_side, with_title

PICTURE_SIDE = 480


def draw_example(path: Path, record: Record, class_names: Sequence[str], only: Sequence[int] | None = None) -> bool:
    """Draw an image with its objects, or some of them; False where it cannot be read."""
    try:
        image = load_image(record.image)
    except ImageError:
        return False
    rows = np.arange(len(record.boxes)) if only is None else np.array(only)
    scale = np.array([image.shape[1] / record.width, image.shape[0] / record.height] * 2)
    labels = record.labels[rows].tolist()
    picture = draw_objects(image, record.boxes[rows] * scale, labels, class_names, least_side=PICTURE_SIDE)
    save_picture(path, with_title(picture, record.name))
    return True


def draw_pair(path: Path, images: Sequence[str]) -> bool:
    """Draw two images side by side; False where one cannot be read."""
    try:
        left, right = (load_image(image) for image in images[:2])
    except ImageError:
        return False
    empty = np.zeros((0, 4))
    pictures = [draw_objects(one, empty, [], [], least_side=PICTURE_SIDE // 2) for one in (left, right)]
    first, second = (with_title(one, name) for one, name in zip(pictures, images, strict=False))
    save_picture(path, side_by_side(first, second))
    return True
