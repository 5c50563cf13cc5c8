"""What a MindRecord row holds: an image and its annotations, with checksums."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass

IMAGE = "image"
# Beside the image, whole numbers and texts only: MindRecord stores these together, apart from the images, so that all
# annotations are read without passing over the images.
SCHEMA = {
    "position": {"type": "int64"},
    "image_id": {"type": "int64"},
    "height": {"type": "int64"},
    "width": {"type": "int64"},
    "crc32": {"type": "int64"},
    "file_name": {"type": "string"},
    "path": {"type": "string"},
    "annotations": {"type": "string"},
    IMAGE: {"type": "bytes"},
}


@dataclass(frozen=True, slots=True)
class Row:
    """Everything of a row but the image.

    Attributes:
        position: place of the image in its source, from 0.
        image_id, height, width, file_name: of COCO's image entry.
        crc32: checksum of the encoded image.
        path: where the image was read.
        annotations: COCO's annotations of the image, as JSON; just as the source has them.
    """

    position: int
    image_id: int
    height: int
    width: int
    crc32: int
    file_name: str
    path: str
    annotations: str

    @property
    def entry(self) -> dict:
        """COCO's image entry."""
        return {"id": self.image_id, "file_name": self.file_name, "height": self.height, "width": self.width}


def compact_json(value: object) -> str:
    """JSON in ASCII without spaces; numbers come back exactly as they were."""
    return json.dumps(value, separators=(",", ":"))


def rows_sha256(rows: Iterable[Row]) -> str:
    """Checksum of everything except the images, which the rows' own sums protect."""
    digest = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.position):
        digest.update("\0".join(map(str, astuple(row))).encode() + b"\n")
    return digest.hexdigest()
