"""Decode any image that people put into data sets to plain 8-bit RGB."""

import os
from typing import Protocol

import cv2
import numpy as np


class ImageError(Exception):
    """An image that cannot be read; the message is one line that starts with its path."""


class EncodedImage(Protocol):
    """An image that knows how to get its encoded bytes, such as `StoredImage`."""

    @property
    def name(self) -> str:
        """What messages call it: the path that it came from."""

    def read(self) -> np.ndarray:
        """The encoded bytes, uint8 [n]. Raises ImageError."""


def load_image(
    source: str | os.PathLike | bytes | EncodedImage, expected_hw: tuple[int, int] | None = None
) -> np.ndarray:
    """Read an image: grey, palette and 16-bit ones become 8-bit RGB, an alpha channel is dropped.

    The EXIF orientation is applied, as viewers and annotation tools do, except when only the unrotated size agrees with
    `expected_hw`: then the annotations were made on the pixels as stored.

    Args:
        source: path, the encoded bytes, or where they are stored.
        expected_hw: height and width that the annotations refer to.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ImageError: missing, empty, truncated, not an image, or not of the expected size.
    """
    name, encoded = _encoded(source)
    image = _decode(name, encoded, cv2.IMREAD_COLOR_RGB)
    if expected_hw is None or image.shape[:2] == tuple(expected_hw):
        return image
    if image.shape[1::-1] == tuple(expected_hw):
        stored = _decode(name, encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if stored.shape[:2] == tuple(expected_hw):
            return stored
    found, expected = ("{1}x{0}".format(*size) for size in (image.shape, expected_hw))
    raise ImageError(f"{name}: the image is {found} pixels (width x height), its annotation says {expected}")


def _encoded(source: str | os.PathLike | bytes | EncodedImage) -> tuple[str, np.ndarray]:
    """Name for messages, and the encoded bytes as uint8 [n]."""
    if isinstance(source, bytes):
        return "<bytes>", np.frombuffer(source, np.uint8)
    if not isinstance(source, str | os.PathLike):
        return source.name, source.read()
    name = os.fspath(source)
    try:
        # Not cv2.imread: it reports a missing file as a broken one, and fails on non-ASCII paths on some systems.
        return name, np.fromfile(name, np.uint8)
    except OSError as error:
        raise ImageError(f"{name}: {error.strerror or error}") from None


def _decode(name: str, encoded: np.ndarray, flags: int) -> np.ndarray:
    if encoded.size == 0:
        raise ImageError(f"{name}: the file is empty")
    try:
        image = cv2.imdecode(encoded, flags)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded ({error.err or 'broken'})") from None
    if image is None:
        raise ImageError(f"{name}: broken, truncated or not an image")
    return image
