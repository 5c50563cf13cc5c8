"""Read MindRecord files by offset: where each row's image lies, and its other fields without touching the images.

MindSpore's own readers give no row's offset, hand out rows in an order of their own, read the images even when only
other columns are asked for, and need mindspore in every process. To read the annotations of 2,000 images of 100 kB,
FileReader takes 44 times as long (1.68 s to 0.04 s; 55 times the CPU seconds), 33 times the bytes (207 MB to 6 MB) and
105 MB more memory at the peak: `benchmarks/mindrecord_reading.py`, both sides in turns in one run.

The files are simple (MindSpore 2.10, format version 3.0; its writing side is mindspore/mindrecord/core/shardwriter.py
and mindspore/ccsrc/minddata/mindrecord):

- the first 8 bytes are the length n (little-endian) of a JSON header, which follows;
- from byte `header_size` on come pages of `page_size` bytes. Pages of blobs hold the columns of bytes, raw pages all
  other columns of a row as MessagePack; each entry is preceded by its length in 8 bytes, little-endian;
- FILE.db is an SQLite table INDEXES, one line per row, with the page of both entries, their start and their end in it.

`create_data.py` reads back through this module all that it wrote, and tests compare it with MindSpore's readers.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import msgpack

from src.common.errors import UserError
from src.data.mindrecord.rows import IMAGE, Row

VERSION = "3.0"
_LENGTH = 8  # bytes
_QUERY = (
    "SELECT PAGE_ID_RAW, PAGE_OFFSET_RAW, PAGE_OFFSET_RAW_END, PAGE_ID_BLOB, PAGE_OFFSET_BLOB, PAGE_OFFSET_BLOB_END "
    "FROM INDEXES ORDER BY PAGE_ID_RAW, PAGE_OFFSET_RAW"
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A row, and where its image is: file, offset and size in bytes."""

    row: Row
    file: str
    offset: int
    size: int


def read_shard(path: Path) -> Iterator[Placed]:
    """The rows of one MindRecord file, in the order in which they were written.

    Raises:
        UserError: the file or its index cannot be read, or is not of the form described above.
    """
    try:
        yield from _read(path)
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror or error}") from None
    except (sqlite3.Error, ValueError, KeyError, IndexError, TypeError, msgpack.UnpackException) as error:
        raise UserError(f"{path}: not a MindRecord file as create_data.py writes it ({error})") from None


def _read(path: Path) -> Iterator[Placed]:
    index = Path(f"{path}.db")
    index.stat()
    # immutable: no lock and no journal beside the file, which may lie in a folder that is read-only or on a network
    with closing(sqlite3.connect(f"file:{quote(str(index.absolute()))}?mode=ro&immutable=1", uri=True)) as table:
        entries = table.execute(_QUERY).fetchall()
    with path.open("rb") as file:
        header_size, page_size = _sizes(file)
        for page, group in groupby(entries, key=lambda entry: entry[0]):
            members = list(group)
            first, last = members[0][1], members[-1][2]
            file.seek(header_size + page * page_size + first)
            content = memoryview(file.read(last - first))
            for _, start, end, blob_page, blob_start, blob_end in members:
                fields = msgpack.unpackb(_entry(content[start - first : end - first]))
                place = header_size + blob_page * page_size + blob_start + _LENGTH
                yield Placed(Row(**fields), str(path), place, blob_end - blob_start - _LENGTH)


def _sizes(file: BinaryIO) -> tuple[int, int]:
    """(header_size, page_size) of a file whose columns are those that this module expects."""
    header = json.loads(file.read(int.from_bytes(file.read(_LENGTH), "little")))
    (schema,) = header["schema"]
    if header["version"] != VERSION or header["compression_size"] or schema["blob_fields"] != [IMAGE]:
        raise ValueError(
            f"version {header['version']}, compression {header['compression_size']}, blobs {schema['blob_fields']}"
        )
    return header["header_size"], header["page_size"]


def _entry(content: memoryview) -> memoryview:
    """The bytes of an entry, without its length."""
    if int.from_bytes(content[:_LENGTH], "little") != len(content) - _LENGTH:
        raise ValueError("an entry is not as long as it says")
    return content[_LENGTH:]
