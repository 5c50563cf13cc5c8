"""Arrays in one file, which all processes of a machine map into their memory and share there."""

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from src.common.atomic import atomic_path
from src.common.own_files import open_own_file

# magic, CRC-32 of all that follows the prefix, size of the header, size of the file; little-endian
_PREFIX = struct.Struct("<8sIQQ")
_MAGIC = b"arrays_1"
_ALIGNMENT = 64  # bytes
_BLOCK = 2**20  # bytes read at a time


class ArrayFileError(ValueError):
    """A file that cannot be used; the message says why."""


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], facts: Any) -> None:
    """Write arrays and `facts` (anything that JSON holds) to a file, whole or not at all.

    Raises:
        UserError: the folder cannot be written.
        OSError: the disk is full, or fails.
    """
    places: dict[str, tuple[str, list[int], int]] = {}
    offset = 0
    for name, array in arrays.items():
        places[name] = array.dtype.str, list(array.shape), offset
        offset += _padded(array.nbytes)
    header = json.dumps({"arrays": places, "facts": facts}).encode()
    header += b" " * (_padded(_PREFIX.size + len(header)) - _PREFIX.size - len(header))
    parts: list[bytes | memoryview] = [header]
    for array in arrays.values():
        parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, bytes(-array.nbytes % _ALIGNMENT)]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(_PREFIX.pack(_MAGIC, checksum, len(header), _PREFIX.size + len(header) + offset))
        file.writelines(parts)


def map_arrays(path: Path) -> tuple[dict[str, np.ndarray], Any]:
    """The arrays of a file, mapped into memory and read-only, and its facts; the whole file is checked first.

    Raises:
        FileNotFoundError: there is no such file.
        ArrayFileError: it is damaged, is not such a file, belongs to another user, or cannot be read.
    """
    try:
        with os.fdopen(open_own_file(path), "rb") as file:
            header, start = _checked_header(file)
            data = np.asarray(np.memmap(file, np.uint8, "r"))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ArrayFileError(error.strerror or str(error)) from None
    arrays = {}
    for name, (dtype, shape, offset) in header["arrays"].items():
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        arrays[name] = data[start + offset : start + offset + size].view(dtype).reshape(shape)
    return arrays, header["facts"]


def _checked_header(file: BinaryIO) -> tuple[dict, int]:
    """The header, and where the arrays start."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise ArrayFileError("is cut off")
    magic, checksum, header_size, whole = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise ArrayFileError("is of another kind")
    if size != whole or header_size > size:
        raise ArrayFileError(f"has {size} bytes instead of {whole}")
    header = file.read(header_size)
    found = zlib.crc32(header)
    while block := file.read(_BLOCK):
        found = zlib.crc32(block, found)
    if found != checksum:
        raise ArrayFileError("was altered")
    return json.loads(header), _PREFIX.size + header_size


def _padded(size: int) -> int:
    return size + -size % _ALIGNMENT
