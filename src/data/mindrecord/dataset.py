"""A data set in MindRecord files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from src.common.errors import UserError
from src.common.json_files import parse_json
from src.data.coco_record import CocoRecordMaker
from src.data.mindrecord.manifest import (
    AGAIN,
    Manifest,
    check_files,
    check_fits,
    manifest_path,
    read_manifest,
)
from src.data.mindrecord.rows import rows_sha256
from src.data.mindrecord.shard_file import Placed, read_shard
from src.data.reader_checks import subset
from src.data.reading_speed import without_garbage_collection
from src.data.record import Record
from src.data.stored_image import StoredImage


class MindRecordDataset:
    """A `DetectionDataset` whose images are read from MindRecord files when they are needed.

    Attributes:
        records: in the order of the source, equal to those of the source except for `image`.
        class_names: names of the foreground classes, in label order.
        category_ids: the source's id of each class.
        annotation_file: the manifest; what messages call the data set.
        problems: one line for each thing that was skipped, here or when the data set was made.
        missing_images: empty; what the source lacked is in `problems`.
        voc_metrics: whether evaluation reports the mean AP of Pascal VOC beside COCO's.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        class_names: Sequence[str],
        with_masks: bool = False,
        first: int = 0,
        every: int = 0,
        keep_difficult: bool = True,
        thorough: bool = False,
    ) -> None:
        """Check the files and read the annotations.

        Args:
            folder: mindrecord_dir.
            name: the prefix that the data set was made with.
            class_names: names of the foreground classes, in label order; must be those it was made for, in any order.
            with_masks: keep the segmentations, leave out objects without a usable one.
            first: keep the first so many images of the source; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.
            keep_difficult: keep objects that Pascal VOC marks difficult.
            thorough: compare the checksums of whole files first.

        Raises:
            UserError: made for other classes or without the masks that are needed; files that are missing or altered.
        """
        path = manifest_path(folder, name)
        self._manifest = open_manifest(path, class_names, with_masks, thorough)
        self.annotation_file = path
        self.class_names = list(class_names)
        self.category_ids = [self._manifest.category_ids[name] for name in class_names]
        self.voc_metrics = self._manifest.voc_metrics
        self.missing_images: list[str] = []
        self.problems = [f"{one.reason}; left out of {path}" for one in self._manifest.left_out]
        maker = CocoRecordMaker(self.category_ids, with_masks)
        without_difficult = self.voc_metrics and not keep_difficult
        with without_garbage_collection():
            rows = self._read()
            kept = set(subset(list(range(len(rows) + len(self._manifest.left_out))), first, every))
            placed = [one for one in rows if one.row.position in kept]
            counts: Counter[int] = Counter()
            self.records = [_record(maker, one, without_difficult, counts) for one in placed]
        if len(placed) == len(rows):
            self._check_objects(counts)
        self.problems += maker.problems
        maker.check_masks(self.records, path)

    def __len__(self) -> int:
        return len(self.records)

    def coco_annotations(self) -> dict:
        """The ground truth as the source's annotation file held it, images that were left out included."""
        with without_garbage_collection():
            rows = (one.row for one in self._read())
            images = [(row.position, row.entry, parse_json(row.annotations)) for row in rows]
            images += [(one.position, one.entry, one.annotations) for one in self._manifest.left_out]
            images.sort(key=lambda image: image[0])
            return {
                "images": [entry for _, entry, _ in images],
                "annotations": [annotation for _, _, annotations in images for annotation in annotations],
                "categories": [{"id": i, "name": name} for name, i in self._manifest.category_ids.items()],
            }

    def _read(self) -> list[Placed]:
        """All rows in the order of the source."""
        folder = self.annotation_file.parent
        placed = [one for shard in self._manifest.shards for one in read_shard(folder / shard)]
        if rows_sha256(one.row for one in placed) != self._manifest.rows_sha256:
            raise UserError(f"{self.annotation_file}: the annotations in its MindRecord files were altered: {AGAIN}")
        self._check_positions([one.row.position for one in placed])
        return sorted(placed, key=lambda one: one.row.position)

    def _check_positions(self, stored: list[int]) -> None:
        """Raise a UserError unless each image of the source is stored once or left out once."""
        manifest, where = self._manifest, self.annotation_file
        if len(stored) != manifest.images:
            raise UserError(f"{where}: says {manifest.images} images, its MindRecord files have {len(stored)}: {AGAIN}")
        positions = [*stored, *(one.position for one in manifest.left_out)]
        if sorted(positions) != list(range(len(positions))):
            raise UserError(f"{where}: images are missing between its rows, or there twice: {AGAIN}")

    def _check_objects(self, counts: Counter[int]) -> None:
        """Raise a UserError unless the rows have as many objects of each category id as the manifest says."""
        per_class = self._manifest.objects_per_class
        says = {i: per_class[name] for name, i in self._manifest.category_ids.items() if per_class.get(name)}
        if says != counts or self._manifest.objects != counts.total():
            raise UserError(f"{self.annotation_file}: says {says} objects by category id, not {dict(counts)}: {AGAIN}")


def open_manifest(path: Path, class_names: Sequence[str], with_masks: bool, thorough: bool = False) -> Manifest:
    """The manifest of a data set that is whole and fits; raises UserError otherwise (see `MindRecordDataset`)."""
    manifest = read_manifest(path)
    check_fits(path, manifest, class_names, with_masks)
    check_files(path, manifest, thorough)
    return manifest


def stored_image(placed: Placed) -> StoredImage:
    """Where a row's image is."""
    return StoredImage(placed.row.path, placed.file, placed.offset, placed.size, placed.row.crc32)


def _record(maker: CocoRecordMaker, placed: Placed, without_difficult: bool, counts: Counter[int]) -> Record:
    """The record of a row; its annotations are counted by their category ids."""
    annotations = parse_json(placed.row.annotations)
    counts.update(one["category_id"] for one in annotations)
    if without_difficult:
        annotations = [one for one in annotations if not one.get("difficult")]
    return maker.record(stored_image(placed), placed.row.entry, annotations)
