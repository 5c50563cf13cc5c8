"""From the JSON of a COCO annotation file to arrays, a few thousand annotations at a time."""

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

from src.common.errors import UserError
from src.common.json_files import parse_json
from src.data.annotations.columns import HUNDREDTHS, NO_ID, AnnotationColumns, Texts
from src.data.coco_content import check_annotation_fields, check_unique
from src.data.masks import segmentation_fault
from src.data.reader_checks import clip_boxes

CHUNK = 2048  # annotations; their numbers stay in the processor's cache

LEAST_COORDINATES = 6  # of the longest polygon of an object, see `segmentation_fault`

Whole = Annotated[int, msgspec.Meta(ge=NO_ID + 1, le=2**63 - 1)]


class _Annotation(msgspec.Struct, gc=False):
    """An annotation as COCO writes it; one that does not fit is odd, and goes the slow way."""

    image_id: Whole
    category_id: Whole
    bbox: Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)]
    id: Whole | None = None
    iscrowd: Annotated[int, msgspec.Meta(ge=0, le=1)] | bool | None = 0
    segmentation: list[list[float]] | dict[str, Any] | None = None


class _File(msgspec.Struct, gc=False):
    images: msgspec.Raw
    annotations: list[msgspec.Raw]
    categories: msgspec.Raw


@dataclass(frozen=True)
class Content:
    """The three lists of an annotation file.

    Attributes:
        images: as JSON has them.
        categories: likewise.
        annotations: JSON texts that are not parsed yet; objects where the file is not plain JSON (it has NaN, or a
            byte-order mark).
    """

    images: list
    categories: list
    annotations: Sequence[Any]


def split_content(text: bytes) -> Content | None:
    """The lists of a file, its annotations not yet parsed; None where it is not what COCO has, or not plain JSON."""
    try:
        if not text.isascii():
            text.decode()  # what msgspec skips, it does not look at
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    try:
        images, categories = parse_json(bytes(file.images)), parse_json(bytes(file.categories))
    except ValueError:
        return None
    if not isinstance(images, list) or not isinstance(categories, list):
        return None
    return Content(images, categories, file.annotations)


def make_columns(path: Path, content: Content) -> AnnotationColumns:
    """The arrays of an annotation file.

    Args:
        path: the file, for messages.
        content: its images and categories must have been checked.

    Raises:
        UserError: annotations that are none, with the same id, or of an unknown category.
    """
    images = _Images(content.images)
    parser = _Parser(content, images)
    for start in range(0, max(len(content.annotations), 1), CHUNK):
        parser.add(start, content.annotations[start : start + CHUNK])
    number, rows, *columns = (np.concatenate(parts) for parts in zip(*parser.objects, strict=True))
    parser.objects.clear()
    parser.check(path, number, *columns[:2])
    return parser.columns(number, rows, *columns)


class _Images:
    """The images of a file, and the row of each by its id."""

    def __init__(self, images: list[dict]) -> None:
        self.ids = np.array([image["id"] for image in images], np.int64)
        self.heights = np.array([image["height"] for image in images], np.int64)
        self.widths = np.array([image["width"] for image in images], np.int64)
        self.names = Texts.of(image["file_name"].encode("utf-8", "surrogatepass") for image in images)
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """int64 [n], the row of each id, -1 where there is none."""
        places = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
        return np.where(self._sorted[places] == ids, self._order[places], -1)


@dataclass
class _Parser:
    """Takes annotations in file order, and makes the columns of them.

    Attributes:
        content: the file.
        images: its images.
        objects: for each chunk its regular annotations as arrays: number, row (-1: a stray), id, category (-1:
            unknown), crowd, box, first part, parts.
        part_lengths: int64 [n] for each chunk.
        points: for each chunk, see `AnnotationColumns.points`.
        run_lengths: annotation number and JSON of each run-length code.
        odd: annotations that do not fit the columns, as (number, entry).
        odd_rows: rows of images that have an annotation that cannot be used.
    """

    content: Content
    images: _Images
    objects: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    part_lengths: list[np.ndarray] = field(default_factory=list)
    points: list[np.ndarray] = field(default_factory=list)
    run_lengths: list[tuple[int, bytes]] = field(default_factory=list)
    odd: list[tuple[int, Any]] = field(default_factory=list)
    odd_rows: list[np.ndarray] = field(default_factory=list)
    _parts: int = 0

    def __post_init__(self) -> None:
        entries = [category["id"] for category in self.content.categories]
        self._category_of = {category_id: index for index, category_id in enumerate(entries)}
        self._decode = _decoder(self.content.annotations)

    def add(self, start: int, annotations: Sequence[Any]) -> None:
        """Parse annotations number `start`, `start` + 1, ..."""
        chunk = self._decoded(start, annotations)
        rows = self.images.rows(np.frombuffer(chunk.image_ids, np.int64))
        height, width = self.images.heights[rows], self.images.widths[rows]
        boxes, usable = clip_boxes(np.frombuffer(chunk.boxes, np.float64).reshape(-1, 4), height, width)
        faulty = chunk.polygons_faulty()
        for index, segmentation in chunk.dicts:
            if segmentation_fault(segmentation, int(height[index]), int(width[index])):
                faulty[index] = True
            else:
                self.run_lengths.append((chunk.numbers[index], _code_text(segmentation)))
        self.odd_rows.append(rows[(rows >= 0) & (faulty | ~usable)])
        parts = np.frombuffer(chunk.parts, np.int64)
        first = self._parts + np.cumsum(parts) - parts
        self._parts += len(chunk.lengths)
        self.part_lengths.append(np.frombuffer(chunk.lengths, np.int64))
        self.points.append(_compact(np.frombuffer(chunk.points, np.float64)))
        numbers, ids, category = (np.frombuffer(one, np.int64) for one in (chunk.numbers, chunk.ids, chunk.categories))
        crowd = np.frombuffer(chunk.crowd, np.int8).astype(bool)
        columns = numbers, rows, ids, category.astype(np.int32), crowd, boxes.astype(np.float32), first
        self.objects.append((*columns, parts.astype(np.int32)))

    def _decoded(self, start: int, annotations: Sequence[Any]) -> "_Chunk":
        """The annotations that fit; each is forgotten before the next one comes, which takes the same memory again."""
        chunk = _Chunk()
        decode, category_of = self._decode, self._category_of.get
        for number, text in enumerate(annotations, start):
            try:
                entry = decode(text)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                self.odd.append((number, _plain(text)))
                continue
            segmentation, count = entry.segmentation, 0
            if isinstance(segmentation, list):
                count = len(segmentation)
                for polygon in segmentation:
                    chunk.points.fromlist(polygon)
                    chunk.lengths.append(len(polygon))
            elif segmentation is not None:
                chunk.dicts.append((len(chunk.numbers), segmentation))
            chunk.numbers.append(number)
            chunk.image_ids.append(entry.image_id)
            chunk.ids.append(NO_ID if entry.id is None else entry.id)
            chunk.categories.append(category_of(entry.category_id, -1))
            chunk.crowd.append(1 if entry.iscrowd else 0)
            chunk.boxes.fromlist(entry.bbox)
            chunk.parts.append(count)
        return chunk

    def check(self, path: Path, number: np.ndarray, ids: np.ndarray, category: np.ndarray) -> None:
        """Raise UserError when an annotation is none, has the id of another, or a category that the file lacks."""
        listed = ids[ids != NO_ID].tolist()
        for n, entry in self.odd:
            listed += check_annotation_fields([entry], path, first=n)
        check_unique(path, "annotation", listed)
        unknown = [(int(n), _plain(self.content.annotations[n])) for n in number[category < 0][:1]]
        unknown += [(n, entry) for n, entry in self.odd if entry["category_id"] not in self._category_of]
        if unknown:
            _, entry = min(unknown, key=lambda one: one[0])
            raise UserError(
                f"{path}: annotation {entry.get('id')} has category_id {entry.get('category_id')}, which its "
                f"categories lack (they are {sorted(self._category_of)})"
            )

    def columns(
        self,
        number: np.ndarray,
        rows: np.ndarray,
        ids: np.ndarray,
        category: np.ndarray,
        crowd: np.ndarray,
        boxes: np.ndarray,
        first_part: np.ndarray,
        parts: np.ndarray,
    ) -> AnnotationColumns:
        """The arrays of all that was added; the arguments are `objects`, joined."""
        odd_images, odd_annotations, odd_strays = self._odd_images(number, rows)
        strays = [*odd_strays, *number[rows < 0].tolist()]
        odd = np.zeros(len(self.images.ids), bool)
        odd[odd_images] = True
        kept = np.flatnonzero((rows >= 0) & ~odd[rows])
        kept = kept[np.argsort(rows[kept], kind="stable")]
        run_length_objects, run_lengths = _sorted_run_lengths(self.run_lengths, number[kept])
        return AnnotationColumns(
            categories=self.content.categories,
            strays=len(strays),
            first_stray=_plain(self.content.annotations[min(strays)]).get("image_id") if strays else None,
            image_ids=self.images.ids,
            heights=self.images.heights,
            widths=self.images.widths,
            names=self.images.names,
            first=np.searchsorted(rows[kept], np.arange(len(odd) + 1)),
            object_ids=ids[kept],
            object_categories=category[kept],
            boxes=boxes[kept],
            crowd=crowd[kept],
            first_part=first_part[kept],
            parts=parts[kept],
            part_ends=np.cumsum(np.concatenate([np.zeros(0, np.int64), *self.part_lengths])),
            points=_joined_points(self.points),
            run_length_objects=run_length_objects,
            run_lengths=run_lengths,
            odd_images=odd_images,
            odd_annotations=odd_annotations,
        )

    def _odd_images(self, number: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, Texts, list[int]]:
        """Rows of odd images, the annotations of each as JSON, and the numbers of odd annotations that are strays."""
        row_of = {image_id: row for row, image_id in enumerate(self.images.ids.tolist())} if self.odd else {}
        members: dict[int, list[int]] = {int(row): [] for part in self.odd_rows for row in part}
        strays = []
        for n, entry in self.odd:
            if entry["image_id"] in row_of:
                members.setdefault(row_of[entry["image_id"]], []).append(n)
            else:
                strays.append(n)
        among = np.flatnonzero(np.isin(rows, list(members)))
        for n, row in zip(number[among].tolist(), rows[among].tolist(), strict=True):
            members[row].append(n)
        odd_images = sorted(members)
        lists = [b",".join(_text(self.content.annotations[n]) for n in sorted(members[row])) for row in odd_images]
        return np.array(odd_images, np.int64), Texts.of(b"[" + one + b"]" for one in lists), strays


class _Chunk:
    """Some annotations that fit.

    Attributes:
        numbers, image_ids, ids, categories, crowd, boxes, parts: of each annotation: its number in the file, COCO's
            image_id, id (or `NO_ID`), index of the category (or -1), 0 or 1, four numbers, number of polygons.
        lengths: numbers in each polygon.
        points: of the polygons.
        dicts: index among these annotations, and segmentation, where that is not polygons.
    """

    __slots__ = (
        "boxes", "categories", "crowd", "dicts", "ids", "image_ids", "lengths", "numbers", "parts", "points",
    )  # fmt: skip

    def __init__(self) -> None:
        self.numbers, self.image_ids, self.ids, self.categories = array("q"), array("q"), array("q"), array("q")
        self.crowd, self.parts, self.lengths = array("b"), array("q"), array("q")
        self.boxes, self.points = array("d"), array("d")
        self.dicts: list[tuple[int, dict]] = []

    def polygons_faulty(self) -> np.ndarray:
        """Whether the polygons of an annotation are not usable, as `segmentation_fault` has it: bool [n]."""
        parts, lengths = np.frombuffer(self.parts, np.int64), np.frombuffer(self.lengths, np.int64)
        owner = np.repeat(np.arange(len(parts)), parts)
        faulty = parts > 0
        faulty[owner[lengths >= LEAST_COORDINATES]] = False
        faulty[owner[lengths % 2 == 1]] = True
        return faulty


def _decoder(annotations: Sequence[Any]) -> Callable[[Any], _Annotation]:
    if annotations and not isinstance(annotations[0], msgspec.Raw):
        return lambda entry: msgspec.convert(entry, _Annotation)
    return msgspec.json.Decoder(_Annotation).decode


def _plain(annotation: Any) -> Any:
    """An annotation as JSON has it."""
    return parse_json(bytes(annotation)) if isinstance(annotation, msgspec.Raw) else annotation


def _text(annotation: Any) -> bytes:
    """An annotation as JSON text."""
    return bytes(annotation) if isinstance(annotation, msgspec.Raw) else json.dumps(annotation).encode()


def _code_text(code: dict[str, Any]) -> bytes:
    """A run-length code as JSON text."""
    try:
        return msgspec.json.encode(code)
    except (UnicodeEncodeError, OverflowError):  # half of a surrogate pair, or a number of more than 64 bits, beside it
        return json.dumps(code).encode()


def _compact(points: np.ndarray) -> np.ndarray:
    """int32 hundredths where all points are such, else as they are; both give the same float64."""
    hundredths = points * HUNDREDTHS
    with np.errstate(invalid="ignore"):  # too large for int32; what that gives differs from the point
        whole = np.rint(hundredths, out=hundredths).astype(np.int32)
    return whole if (np.divide(whole, HUNDREDTHS, out=hundredths) == points).all() else points


def _joined_points(chunks: list[np.ndarray]) -> np.ndarray:
    """All chunks as one array, of float64 when one of them is; they are forgotten, since they take the most memory."""
    compact = all(chunk.dtype == np.int32 for chunk in chunks)
    joined = np.empty(sum(map(len, chunks)), np.int32 if compact else np.float64)
    end = len(joined)
    while chunks:
        chunk = chunks.pop()
        exact = chunk / HUNDREDTHS if chunk.dtype == np.int32 and not compact else chunk
        joined[end - len(chunk) : end] = exact
        end -= len(chunk)
    return joined


def _sorted_run_lengths(codes: list[tuple[int, bytes]], numbers: np.ndarray) -> tuple[np.ndarray, Texts]:
    """Run lengths in the order of the objects that they belong to; `numbers` int64 [N]: each object's annotation."""
    order = np.argsort(numbers)
    wanted = np.array([number for number, _ in codes], np.int64)
    places = np.searchsorted(numbers, wanted, sorter=order)
    there = places < len(numbers)
    there[there] = numbers[order[places[there]]] == wanted[there]
    kept = np.flatnonzero(there)
    objects = order[places[kept]]
    ascending = np.argsort(objects)
    return objects[ascending], Texts.of(codes[index][1] for index in kept[ascending].tolist())
