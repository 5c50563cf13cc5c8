"""What people give to a detector: paths, encoded bytes, arrays of pixels, Pillow's images."""

import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps

from src.common.errors import UserError
from src.data.image import ImageRules, load_image
from src.data.image_files import find_images

ImageSource: TypeAlias = str | os.PathLike | bytes | np.ndarray | Image.Image
PILLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # 8 bits per channel


def listed(source: ImageSource | list | tuple) -> tuple[list[ImageSource], bool]:
    """(images, whether they are several): a list or a folder is several, anything else is one.

    Raises:
        UserError: a folder without images, or something that is no image.
    """
    several = isinstance(source, list | tuple)
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        return list(find_images(Path(source), recursive=True)), True
    images = list(source) if isinstance(source, list | tuple) else [source]
    for image in images:
        _refuse_what_is_no_image(image)
    return images, several


def _refuse_what_is_no_image(source: object) -> None:
    if isinstance(source, np.ndarray):
        grey = source.ndim == 2 or (source.ndim == 3 and source.shape[2] == 1)
        if source.dtype != np.uint8 or not (grey or (source.ndim == 3 and source.shape[2] == 3)) or not source.size:
            raise UserError(
                f"an array {source.dtype} {list(source.shape)} is no image; give uint8 [H, W, 3] in the order RGB, or "
                "uint8 [H, W]"
            )
    elif isinstance(source, Image.Image):
        if source.mode not in PILLOW_MODES:
            raise UserError(f"an image of Pillow's mode {source.mode} has no 8 bits per channel; convert it to RGB")
    elif not isinstance(source, str | os.PathLike | bytes):
        raise UserError(f"{type(source).__name__} is no image; give a path, bytes, an array or one of Pillow's images")


def pixels_of(source: ImageSource, rules: ImageRules) -> np.ndarray:
    """The pixels of an image, uint8 [H, W, 3] in the order RGB.

    Raises:
        ImageError: it cannot be read.
    """
    if isinstance(source, np.ndarray):
        return np.ascontiguousarray(np.broadcast_to(source.reshape(*source.shape[:2], -1), (*source.shape[:2], 3)))
    if isinstance(source, Image.Image):
        return np.asarray(ImageOps.exif_transpose(source).convert("RGB"))
    return load_image(source, rules=rules)
