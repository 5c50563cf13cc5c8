"""A COCO annotation file as arrays, which take a tenth of what dicts and lists take and can be shared by processes."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from src.common.json_files import parse_json

NO_ID = -(2**63)
HUNDREDTHS = 100  # COCO's points have two decimals; whole hundredths take half the memory of float64


@dataclass(frozen=True)
class Texts:
    """Byte strings, one after the other.

    Attributes:
        characters: uint8 [C].
        ends: int64 [T], where each of them ends in `characters`.
    """

    characters: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> "Texts":
        """Those strings."""
        texts = list(texts)
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return cls(np.frombuffer(b"".join(texts), np.uint8), ends)

    def __getitem__(self, index: int) -> bytes:
        start = self.ends[index - 1] if index else 0
        return self.characters[start : self.ends[index]].tobytes()

    def decoded(self) -> list[str]:
        """All of them as text."""
        characters, ends = self.characters.tobytes(), self.ends.tolist()
        pairs = zip([0, *ends], ends, strict=False)
        return [characters[start:end].decode("utf-8", "surrogatepass") for start, end in pairs]


@dataclass(frozen=True)
class AnnotationColumns:
    """Images in file order, and their objects: those of one image side by side, in file order.

    Objects are there whose box and mask (if any) can be used. An image of which any annotation is otherwise is kept as
    JSON, so that what is said about it, and what is left of it, comes from the code that reads dicts.

    Attributes:
        categories: COCO's entries.
        strays: annotations of images that the file does not list; they are left out.
        first_stray: `image_id` of the first of these.
        image_ids: int64 [I].
        heights: int64 [I], pixels.
        widths: int64 [I], pixels.
        names: I file names in UTF-8.
        first: int64 [I + 1]; the objects of image i are first[i] ... first[i + 1] - 1.
        object_ids: int64 [N]; `NO_ID` where there is none.
        object_categories: int32 [N], index in `categories`.
        boxes: float32 [N, 4], x1 y1 x2 y2 in pixels, inside the image.
        crowd: bool [N].
        first_part: int64 [N]; the polygons of object k are first_part[k] ... first_part[k] + parts[k] - 1.
        parts: int32 [N], number of polygons; 0: run lengths or no mask.
        part_ends: int64 [P], where each polygon ends in `points`.
        points: x and y by turns, in pixels: float64 [X], or int32 [X] hundredths where all of them are such.
        run_length_objects: int64 [R], objects that have run lengths, ascending.
        run_lengths: R run-length codes as JSON.
        odd_images: int64 [Q], images that are kept as JSON, ascending; they have no objects here.
        odd_annotations: Q lists of annotations as JSON.
    """

    categories: list[dict]
    strays: int
    first_stray: Any
    image_ids: np.ndarray
    heights: np.ndarray
    widths: np.ndarray
    names: Texts
    first: np.ndarray
    object_ids: np.ndarray
    object_categories: np.ndarray
    boxes: np.ndarray
    crowd: np.ndarray
    first_part: np.ndarray
    parts: np.ndarray
    part_ends: np.ndarray
    points: np.ndarray
    run_length_objects: np.ndarray
    run_lengths: Texts
    odd_images: np.ndarray
    odd_annotations: Texts

    def segmentation(self, index: int) -> list[list[float]] | dict | None:
        """COCO's segmentation of an object."""
        count = int(self.parts[index])
        if count:
            first = int(self.first_part[index])
            ends = self.part_ends[first : first + count].tolist()
            starts = [int(self.part_ends[first - 1]) if first else 0, *ends]
            return [self._polygon(start, end) for start, end in zip(starts, ends, strict=False)]
        place = int(np.searchsorted(self.run_length_objects, index))
        if place == len(self.run_length_objects) or self.run_length_objects[place] != index:
            return None
        return parse_json(self.run_lengths[place])

    def without_mask(self) -> np.ndarray:
        """Whether an object has neither polygons nor run lengths, bool [N]."""
        lacking = self.parts == 0
        lacking[self.run_length_objects] = False
        return lacking

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays by name, and the rest, which JSON can hold."""
        arrays, facts = {}, {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Texts):
                arrays[f"{field.name}.characters"], arrays[f"{field.name}.ends"] = value.characters, value.ends
            elif isinstance(value, np.ndarray):
                arrays[field.name] = value
            else:
                facts[field.name] = value
        return arrays, facts

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], facts: dict) -> "AnnotationColumns":
        """What `to_arrays` gave. Raises KeyError when something lacks."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            if field.type is Texts:
                values[field.name] = Texts(arrays[f"{field.name}.characters"], arrays[f"{field.name}.ends"])
            else:
                values[field.name] = facts[field.name] if field.name in facts else arrays[field.name]
        return cls(**values)

    def _polygon(self, start: int, end: int) -> list[float]:
        points = self.points[start:end]
        return (points if points.dtype == np.float64 else points / HUNDREDTHS).tolist()
