"""Write rows to MindRecord files, several in turn."""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from src.common.errors import UserError
from src.data.mindrecord.rows import IMAGE, SCHEMA, Row

HEADER_SIZE = 2**20  # bytes; some 170 per page
SMALLEST_PAGE, LARGEST_PAGE = 2**16, 2**28  # bytes; MindRecord's limit is 256 MiB
USUAL_PAGE = 2**25
BATCH_ROWS, BATCH_BYTES = 64, 2**26  # rows are handed over in groups, which are dealt out to the files


class ShardWriter:
    """Writes the files NAME, or NAME0, NAME1, ... of a data set. Nothing can be read from them before `finish`.

    Args:
        folder: exists, and holds no such files.
        name: see above.
        shards: number of files, at most that of the rows.
        page_size: see `page_size_for`.

    Raises:
        UserError: the files cannot be written (each method).
    """

    def __init__(self, folder: Path, name: str, shards: int, page_size: int) -> None:
        from mindspore.mindrecord import FileWriter

        self._where = folder / name
        self._batch: list[dict] = []
        self._batch_bytes = 0
        self._batch_rows = max(BATCH_ROWS, shards)
        self._writer = FileWriter(str(self._where), shards)
        self._try(self._writer.set_header_size, HEADER_SIZE)
        self._try(self._writer.set_page_size, page_size)
        self._try(self._writer.add_schema, SCHEMA, "images and their COCO annotations")
        self._try(self._writer.add_index, ["position"])

    def add(self, row: Row, image: bytes) -> None:
        """Write a row and its encoded image."""
        self._batch.append({**asdict(row), IMAGE: image})
        self._batch_bytes += len(image)
        if len(self._batch) >= self._batch_rows or self._batch_bytes >= BATCH_BYTES:
            self._write_batch()

    def finish(self) -> None:
        """Write what is left, and the indices."""
        self._write_batch()
        self._try(self._writer.commit)

    def _write_batch(self) -> None:
        if self._batch:
            self._try(self._writer.write_raw_data, self._batch)
        self._batch, self._batch_bytes = [], 0

    def _try(self, function: Callable[..., object], *arguments: object) -> None:
        try:
            function(*arguments)
        except (RuntimeError, OSError) as error:  # MindRecord's exceptions are RuntimeErrors
            raise UserError(f"{self._where}: cannot be written ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """The one line of MindSpore's report that says what is wrong."""
    told = re.search(r"\[ERROR\] (.+)", str(error))
    return told[1] if told else "MindSpore gives no reason: no space left, a quota, or no permission?"


def page_size_for(largest_entry: int, shard_bytes: int) -> int:
    """A page size, in bytes, that holds the largest entry and wastes little on data sets that are small.

    Args:
        largest_entry: bytes of the largest image, or of the largest annotations of an image.
        shard_bytes: about what a file will hold.
    """
    wanted = max(largest_entry + 1024, min(shard_bytes, USUAL_PAGE), SMALLEST_PAGE)
    return min(1 << (wanted - 1).bit_length(), LARGEST_PAGE)
