"""An image inside a larger file, read only when it is needed."""

import zlib
from dataclasses import dataclass

import numpy as np

from src.data.image import ImageError


@dataclass(frozen=True, slots=True)
class StoredImage:
    """Where an encoded image is stored. Small, and any thread or process may read it.

    Attributes:
        name: path that the image came from, for messages.
        file: the file that holds it.
        offset, size: its place there, bytes.
        crc32: checksum of its bytes.
    """

    name: str
    file: str
    offset: int
    size: int
    crc32: int

    def read(self) -> np.ndarray:
        """The encoded image, uint8 [size]. Raises ImageError when the file is gone, shorter, or altered."""
        try:
            encoded = np.fromfile(self.file, np.uint8, self.size, offset=self.offset)
        except OSError as error:
            raise ImageError(f"{self.name}: {self.file} that stores it: {error.strerror or error}") from None
        if zlib.crc32(encoded.data) != self.crc32:
            raise ImageError(f"{self.name}: its bytes in {self.file} were altered or cut off; create that file again")
        return encoded
