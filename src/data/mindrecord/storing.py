"""Put the images of a source into MindRecord files, and read back what was written."""

import os
import zlib
from functools import partial
from pathlib import Path

from src.common.checksum import sha256_of
from src.common.errors import UserError
from src.common.json_files import parse_json
from src.common.parallel import map_ahead
from src.common.progress import with_progress
from src.data.image import USUAL_RULES, ImageError, ImageRules, load_image
from src.data.mindrecord.dataset import stored_image
from src.data.mindrecord.manifest import INDEX_SUFFIX, LeftOut, StoredFile
from src.data.mindrecord.rows import Row, rows_sha256
from src.data.mindrecord.shard_file import Placed, read_shard
from src.data.mindrecord.source import Source, SourceImage
from src.data.mindrecord.writing import LARGEST_PAGE, ShardWriter, page_size_for

SHARD_BYTES = 2**30  # about so much per file, where the number of files is not given
MOST_SHARDS = 1000  # MindRecord's limit
LARGEST_IMAGE = LARGEST_PAGE - 1024  # bytes


def store_images(
    folder: Path,
    name: str,
    source: Source,
    shards: int,
    workers: int,
    progress_bar: str,
    rules: ImageRules = USUAL_RULES,
) -> tuple[list[Row], list[LeftOut]]:
    """Decode each image of `source`, and write it where that works.

    Args:
        folder: see `ShardWriter`.
        name: see `ShardWriter`.
        source: what to store.
        shards: number of files; 0: one per GiB.
        workers: threads that read and decode.
        progress_bar: 'auto', 'on' or 'off'.
        rules: which images are read.

    Returns:
        The rows that were written, and what was left out of the source, both in its order.

    Raises:
        UserError: not one image can be read, or the files cannot be written.
    """
    if not source.images:
        raise UserError(f"{source.name}: not one of its images is there")
    sizes = [image.size + len(image.annotations) for image in source.images]
    shards = min(shards or -(-sum(sizes) // SHARD_BYTES), len(sizes), MOST_SHARDS)
    writer = ShardWriter(folder, name, shards, page_size_for(max(sizes), sum(sizes) // shards))
    rows: list[Row] = []
    left_out = list(source.left_out)
    loaded = map_ahead(partial(_load, rules=rules), source.images, workers, 4 * workers)
    for image, result in with_progress(loaded, len(sizes), "images", progress_bar):
        if isinstance(result, str):
            left_out.append(_left_out(image, result))
        else:
            writer.add(*result)
            rows.append(result[0])
    if not rows:
        raise UserError(f"{source.name}: not one of its images can be read, the first: {left_out[0].reason}")
    writer.finish()
    return rows, sorted(left_out, key=lambda one: one.position)


def read_back(folder: Path, rows: list[Row], workers: int, progress_bar: str) -> list[StoredFile]:
    """Compare what the files in `folder` hold with what was written.

    Returns:
        The files with their checksums, ready for others to read.

    Raises:
        UserError: they hold something else.
    """
    paths = sorted(folder.iterdir())
    placed = [one for path in paths if path.suffix != INDEX_SUFFIX for one in read_shard(path)]
    if rows_sha256(one.row for one in placed) != rows_sha256(rows):
        raise UserError(f"{folder}: the annotations read back are not those that were written; is the disk sound?")
    checks = map_ahead(_check, placed, workers, 4 * workers)
    for _, problem in with_progress(checks, len(placed), "images read back", progress_bar):
        if problem:
            raise UserError(f"{problem} (right after it was written; is the disk sound?)")
    sums = map_ahead(sha256_of, paths, workers, workers)
    readable = 0o666 & ~_umask()  # MindRecord makes its files private
    files = []
    for path, digest in sums:
        path.chmod(readable)
        files.append(StoredFile(name=path.name, size=path.stat().st_size, sha256=digest))
    return files


def _load(image: SourceImage, rules: ImageRules) -> tuple[Row, bytes] | str:
    """The image as it is stored, or why it is left out."""
    entry = image.entry
    try:
        load_image(image.path, (entry["height"], entry["width"]), rules)
        encoded = Path(image.path).read_bytes()
        f"{image.path}{entry['file_name']}".encode()
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{image.path}: {error.strerror or error}"
    except UnicodeEncodeError:
        return f"{image.path!r}: its name is not UTF-8"
    if len(encoded) > LARGEST_IMAGE:
        return f"{image.path}: its file has over {LARGEST_IMAGE >> 20} MiB, more than MindRecord holds"
    size = {key: entry[key] for key in ("height", "width", "file_name")}
    crc32 = zlib.crc32(encoded)
    row = Row(image.position, entry["id"], crc32=crc32, path=image.path, annotations=image.annotations, **size)
    return row, encoded


def _left_out(image: SourceImage, reason: str) -> LeftOut:
    annotations = parse_json(image.annotations)
    path = image.path.encode("utf-8", "backslashreplace").decode()
    return LeftOut(position=image.position, path=path, reason=reason, entry=image.entry, annotations=annotations)


def _check(placed: Placed) -> str | None:
    """What is wrong with a stored image."""
    try:
        stored_image(placed).read()
    except ImageError as error:
        return str(error)
    return None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
