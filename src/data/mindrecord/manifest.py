"""The manifest: a JSON file beside the MindRecord files that says what they hold and whether they are whole."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from src.common.atomic import atomic_path
from src.common.checksum import sha256_of
from src.common.errors import UserError

FORMAT: Final = "detection data set in MindRecord files"
VERSION: Final = 2  # raise when older files can no longer be read
INDEX_SUFFIX = ".db"
AGAIN = "create the data set again (create_data.py --overwrite 1)"


PlainName = Annotated[str, Field(pattern=r"^[^/\x00]+$", max_length=255)]  # of a file in the manifest's own folder
Count = Annotated[int, Field(ge=0, lt=2**63)]


class StoredFile(BaseModel):
    """A file of the data set: a shard or the index of one. `size` in bytes."""

    name: PlainName
    size: Count
    sha256: str


class LeftOut(BaseModel):
    """An image of the source that is not stored. Evaluation still counts its objects, as it does without MindRecord.

    Attributes:
        position: its place in the source.
        path: of the image.
        reason: one line that says what is wrong, with the path.
        entry: COCO's image entry.
        annotations: COCO's annotations of it.
    """

    position: Count
    path: str
    reason: str
    entry: dict
    annotations: list[dict]


class Manifest(BaseModel):
    """What a data set is made from and holds.

    Attributes:
        format, version: of this file and the rows.
        dataset: name of the source's format, see `FORMATS`.
        split: train or val.
        source: what it was made from.
        source_sha256: tells whether a source is still the same (annotations, paths and sizes of the images).
        category_ids: id of each class by its name.
        with_masks: whether objects have masks.
        voc_metrics: whether evaluation reports the mean AP of Pascal VOC too.
        images, objects, objects_per_class: counts of what is stored.
        rows_sha256: see `rows.rows_sha256`.
        files: shards and their indices.
        left_out: images that could not be read.
        sha256: of everything else in this file; set when it is written.
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["detection data set in MindRecord files"] = FORMAT
    version: Literal[2] = VERSION
    dataset: str
    split: str
    source: str
    source_sha256: str
    category_ids: dict[str, int]
    with_masks: bool
    voc_metrics: bool
    images: Count
    objects: Count
    objects_per_class: dict[str, Count]
    rows_sha256: str
    files: list[StoredFile]
    left_out: list[LeftOut]
    sha256: str = ""

    @property
    def shards(self) -> list[str]:
        """Names of the MindRecord files without their indices."""
        return [file.name for file in self.files if not file.name.endswith(INDEX_SUFFIX)]


def _sha256_of(content: dict[str, Any]) -> str:
    """Checksum of a manifest's content, apart from that checksum itself."""
    text = json.dumps({name: value for name, value in content.items() if name != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_path(folder: str | Path, name: str) -> Path:
    """Path of the manifest of the data set `name` (a prefix) in `folder`."""
    return Path(folder) / f"{name}.json"


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write it with its checksum, whole or not at all."""
    content = manifest.model_dump()
    content["sha256"] = _sha256_of(content)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        UserError: it cannot be read, is not of this version, or was altered.
    """
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot read the manifest ({error.strerror or error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{path}: not a manifest of create_data.py, version {VERSION} ({where + ': ' if where else ''}"
            f"{first['msg']}); {AGAIN}"
        ) from None
    if _sha256_of(manifest.model_dump()) != manifest.sha256:
        raise UserError(f"{path}: was altered, its checksum is not that of its content: {AGAIN}")
    return manifest


def check_files(path: Path, manifest: Manifest, thorough: bool = False) -> None:
    """Raise a UserError unless all files are there and whole.

    Sizes are compared, and checksums of the indices; with `thorough` those of all files, which reads every byte.
    (Without it nothing goes unseen for long: annotations have a checksum of their own when they are read, and each
    image has one.)
    """
    for file in manifest.files:
        place = path.parent / file.name
        try:
            size = place.stat().st_size
            if size != file.size:
                raise UserError(f"{place}: is {size} bytes, {path.name} says {file.size}: copy it again, or {AGAIN}")
            if (thorough or file.name.endswith(INDEX_SUFFIX)) and sha256_of(place) != file.sha256:
                raise UserError(f"{place}: was altered, its checksum is not that of {path.name}: {AGAIN}")
        except OSError as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
            raise UserError(f"{place} {reason}, but {path.name} lists it: bring it back, or {AGAIN}") from None


def check_fits(path: Path, manifest: Manifest, class_names: Sequence[str], with_masks: bool) -> None:
    """Raise a UserError when the data set was made for other classes, or has no masks and `with_masks` needs them."""
    stored = list(manifest.category_ids)
    if sorted(stored) != sorted(class_names):
        raise UserError(
            f"{path}: made for other classes: only in coco_classes {_beyond(class_names, stored)}, only in the data "
            f"set {_beyond(stored, class_names)}; {AGAIN} with this configuration, or set coco_classes to "
            f"'background' and {stored}"
        )
    if with_masks and not manifest.with_masks:
        raise UserError(
            f"{path}: has no masks, since {manifest.source} has none; a model with masks learns from polygons or RLE "
            "in 'segmentation': make the data set from annotations that have them, or train a detector of boxes"
        )


def _beyond(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]
