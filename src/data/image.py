"""Decode any image that people put into data sets to plain 8-bit RGB."""

import io
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Protocol

import cv2
import numpy as np
from PIL import Image

from src.common.errors import UserError
from src.ops.decoder_messages import TARGET, DecoderMessages
from src.ops.kernel_library import library
from src.schema import Config

logger = logging.getLogger(__name__)

MOST_PIXELS = 100_000_000
MOST_BYTES_PER_PIXEL = 16  # of an encoded image: four channels of 32 bits
ROOM = 2**20  # bytes for what else a file may hold
JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_FRAME = 12  # bytes of a part beside its content: length, kind, checksum

# Headers are read with Pillow, which decodes nothing then; how large an image may be is said by `ImageRules`.
Image.MAX_IMAGE_PIXELS = None


class ImageError(Exception):
    """An image that cannot be read; the message is one line that starts with its path."""


class ImageTooLargeError(ImageError):
    """An image of more pixels than the rules allow."""


class EncodedImage(Protocol):
    """An image that knows how to get its encoded bytes, such as `StoredImage`."""

    @property
    def name(self) -> str:
        """What messages call it: the path that it came from."""

    def read(self) -> np.ndarray:
        """The encoded bytes, uint8 [n]. Raises ImageError."""


@dataclass(frozen=True)
class ImageRules:
    """Which images are read.

    Attributes:
        max_pixels: larger ones are refused before they are decoded.
        strict: refuse JPEG files that libjpeg decodes with a warning, too; else the warning is logged with their path.
    """

    max_pixels: int = MOST_PIXELS
    strict: bool = False

    @classmethod
    def of(cls, config: Config) -> "ImageRules":
        """Those of a configuration."""
        return cls(config.max_image_pixels, config.strict_images)


USUAL_RULES = ImageRules()


def load_image(
    source: str | os.PathLike | bytes | EncodedImage,
    expected_hw: tuple[int, int] | None = None,
    rules: ImageRules = USUAL_RULES,
) -> np.ndarray:
    """Read an image: grey, palette and 16-bit ones become 8-bit RGB, an alpha channel is dropped.

    The EXIF orientation is applied, as viewers and annotation tools do, except when only the unrotated size agrees with
    `expected_hw`: then the annotations were made on the pixels as stored.

    Args:
        source: path, the encoded bytes, or where they are stored.
        expected_hw: height and width that the annotations refer to.
        rules: which images are read.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        ImageError: missing, no regular file, empty, truncated, not an image, too large, damaged (where `rules` are
            strict), or not of the expected size.
        UserError: `rules` are strict, and there is no C++ compiler, which that needs.
    """
    name, encoded = _encoded(source, rules)
    if not _png_chunks_fit(encoded.data):
        raise ImageError(f"{name}: broken or truncated: a part of it is longer than the file")
    _refuse_many_pixels(name, encoded, rules)
    image = _decode(name, encoded, cv2.IMREAD_COLOR_RGB, rules)
    if expected_hw is None or image.shape[:2] == tuple(expected_hw):
        return image
    if image.shape[1::-1] == tuple(expected_hw):
        stored = _decode(name, encoded, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, rules)
        if stored.shape[:2] == tuple(expected_hw):
            return stored
    found, expected = ("{1}x{0}".format(*size) for size in (image.shape, expected_hw))
    raise ImageError(f"{name}: the image is {found} pixels (width x height), its annotation says {expected}")


@contextmanager
def open_regular(path: str) -> Iterator[BinaryIO]:
    """A file opened for reading; a pipe or a device, which may never end, raises an OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise OSError(None, "Is a directory" if stat.S_ISDIR(mode) else "is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def _encoded(source: str | os.PathLike | bytes | EncodedImage, rules: ImageRules) -> tuple[str, np.ndarray]:
    """Name for messages, and the encoded bytes as uint8 [n]."""
    if isinstance(source, bytes):
        return "<bytes>", np.frombuffer(source, np.uint8)
    if not isinstance(source, str | os.PathLike):
        return source.name, source.read()
    name = os.fspath(source)
    try:
        # Not cv2.imread: it reports a missing file as a broken one, and fails on non-ASCII paths on some systems.
        with open_regular(name) as file:
            size, most = os.fstat(file.fileno()).st_size, MOST_BYTES_PER_PIXEL * rules.max_pixels + ROOM
            if size > most:
                raise ImageError(f"{name}: a file of {size} bytes, more than an image of max_image_pixels can have")
            return name, np.fromfile(file, np.uint8)
    except OSError as error:
        raise ImageError(f"{name}: {error.strerror or error}") from None
    except ValueError as error:  # NUL in the name
        raise ImageError(f"{name!r}: {error}") from None


def _refuse_many_pixels(name: str, encoded: np.ndarray, rules: ImageRules) -> None:
    """Raise an `ImageTooLargeError` where the header says more pixels than the rules allow."""
    size = _jpeg_size(encoded.data) or _size_by_pillow(encoded)
    if size is None:  # OpenCV says what is wrong
        return
    width, height = size
    if width * height > rules.max_pixels:
        raise ImageTooLargeError(
            f"{name}: has {width}x{height} pixels, over max_image_pixels {rules.max_pixels}; scale it down, or raise "
            "that key"
        )


def _png_chunks_fit(encoded: memoryview) -> bool:
    """Whether every part of a PNG file lies in the file: OpenCV makes room for what a part says before it reads it."""
    if encoded[: len(PNG_START)] != PNG_START:
        return True
    place, kind = len(PNG_START), b""
    while kind != b"IEND" and place + PNG_FRAME <= len(encoded):
        kind = bytes(encoded[place + 4 : place + 8])
        place += int.from_bytes(encoded[place : place + 4], "big") + PNG_FRAME
    return kind == b"IEND" and place <= len(encoded)


def _jpeg_size(encoded: memoryview) -> tuple[int, int] | None:
    """(width, height) that the header of a JPEG file says, faster than Pillow does; None where it is unusual."""
    place = 2
    while encoded[:2] == JPEG_START and place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker = encoded[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame, not a table
            height, width = encoded[place + 5 : place + 7], encoded[place + 7 : place + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        if not 0xC0 <= marker <= 0xFE or 0xD0 <= marker <= 0xDA:  # no length follows, or the image itself
            return None
        place += 2 + int.from_bytes(encoded[place + 2 : place + 4], "big")
    return None


def _size_by_pillow(encoded: np.ndarray) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(encoded.data)) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, TypeError, EOFError, OverflowError):
        return None


@cache
def _messages_library(strict: bool) -> Path | None:
    """What collects the decoder's messages; where it cannot be built None, or with `strict` a UserError."""
    try:
        return library(TARGET)
    except UserError as error:
        if strict:
            raise UserError(f"strict_images: {error}") from None
        return None


@cache
def _warn_once(line: str) -> None:
    logger.warning(line)


def _decode(name: str, encoded: np.ndarray, flags: int, rules: ImageRules) -> np.ndarray:
    """The pixels; JPEG files that are damaged, but decoded, are refused or named."""
    if encoded[:2].tobytes() != JPEG_START or (found := _messages_library(rules.strict)) is None:
        return _decode_quietly(name, encoded, flags)
    with DecoderMessages(found) as messages:
        image = _decode_quietly(name, encoded, flags)
    if messages.text:
        line = f"{name}: damaged ({messages.text.splitlines()[0]})"
        if rules.strict:
            raise ImageError(line)
        _warn_once(f"{line}, but decoded; strict_images: 1 refuses such images")
    return image


def _decode_quietly(name: str, encoded: np.ndarray, flags: int) -> np.ndarray:
    if encoded.size == 0:
        raise ImageError(f"{name}: the file is empty")
    try:
        image = cv2.imdecode(encoded, flags)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded ({error.err or 'broken'})") from None
    if image is None:
        raise ImageError(f"{name}: broken, truncated or not an image")
    return image
