"""Records that are made of columns when they are asked for."""

import os
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from src.common.json_files import parse_json
from src.data.annotations.columns import NO_ID, AnnotationColumns
from src.data.coco_record import CocoRecordMaker
from src.data.masks import segmentation_fault
from src.data.record import Record


class ObjectMasks(Sequence):
    """COCO's segmentations of an image's objects, each made when it is asked for; pickled as a list of them."""

    def __init__(self, columns: AnnotationColumns, objects: Sequence[int] | np.ndarray) -> None:
        self._columns = columns
        self._objects = objects

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ObjectMasks(self._columns, self._objects[index])
        return self._columns.segmentation(int(self._objects[index]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    def __reduce__(self) -> tuple:
        return list, (list(self),)


class ColumnRecords(Sequence[Record]):
    """The records of some images of a file.

    Args:
        columns: the file.
        rows: int64 [n], the images.
        images_dir: folder that file names are relative to.
        category_ids: the category id of each class, label 0 first.
        with_masks: with their masks, and without the objects that have none.
    """

    def __init__(
        self,
        columns: AnnotationColumns,
        rows: np.ndarray,
        images_dir: str | os.PathLike,
        category_ids: Sequence[Any],
        with_masks: bool,
    ) -> None:
        self._columns, self._rows, self._with_masks = columns, rows, with_masks
        self._images_dir = os.fspath(images_dir)
        self._category_ids = list(category_ids)
        label_of = {category_id: label for label, category_id in enumerate(category_ids)}
        self._labels = np.array([label_of[category["id"]] for category in columns.categories], np.int32)
        self._odd = {row: place for place, row in enumerate(columns.odd_images.tolist())}
        # Where an object has no mask: those of its image are then picked one by one.
        self._lacking = np.flatnonzero(columns.without_mask()) if with_masks else np.zeros(0, np.int64)
        owners = np.searchsorted(columns.first, self._lacking, side="right") - 1
        self._partly = set(owners.tolist())

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._record(row) for row in self._rows[index].tolist()]
        return self._record(int(self._rows[index]))

    def __iter__(self) -> Iterator[Record]:
        return map(self._record, self._rows.tolist())

    def report(self) -> CocoRecordMaker:
        """What is left out of these records, as the maker of records notes it."""
        maker = CocoRecordMaker(self._category_ids, self._with_masks)
        special = np.array(sorted({*self._odd, *self._partly}), np.int64)
        for row in special[np.isin(special, self._rows)].tolist():
            self._record(row, maker)
        return maker

    def _record(self, row: int, maker: CocoRecordMaker | None = None) -> Record:
        """The record of an image; a maker notes what is left out of it."""
        columns = self._columns
        image_id, height, width = columns.image_ids[row].item(), columns.heights[row].item(), columns.widths[row].item()
        name = columns.names[row].decode("utf-8", "surrogatepass")
        path = os.path.join(self._images_dir, name)  # noqa: PTH118  a Path for each of 100,000 is slow
        if row in self._odd:
            maker = maker or CocoRecordMaker(self._category_ids, self._with_masks)
            annotations = parse_json(columns.odd_annotations[self._odd[row]])
            return maker.record(path, {"id": image_id, "height": height, "width": width}, annotations)
        start, end = columns.first[row : row + 2].tolist()
        objects: slice | np.ndarray = slice(start, end)
        numbers: Sequence[int] | np.ndarray = range(start, end)
        if row in self._partly:
            objects = numbers = self._with_mask(path, np.arange(start, end), maker)
        return Record(
            image=path,
            height=height,
            width=width,
            image_id=image_id,
            boxes=columns.boxes[objects].copy(),
            labels=self._labels[columns.object_categories[objects]],
            crowd=columns.crowd[objects].copy(),
            masks=ObjectMasks(columns, numbers) if self._with_masks else None,
        )

    def _with_mask(self, path: str, objects: np.ndarray, maker: CocoRecordMaker | None) -> np.ndarray:
        """Those of the objects that have a mask; a maker notes the others."""
        lacking = np.isin(objects, self._lacking, assume_unique=True)
        if maker is not None:
            for object_id in self._columns.object_ids[objects[lacking]].tolist():
                fault = str(segmentation_fault(None, 0, 0))
                maker.leave_out(path, None if object_id == NO_ID else object_id, fault)
        return objects[~lacking]
