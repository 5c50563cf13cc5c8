"""What a training would stumble over in a data set, as numbers."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.data.detection_dataset import DetectionDataset
from src.data.image import ImageError, load_image
from src.data.reader_checks import box_numbers
from src.data.record import Record

SIZES = ("small", "medium", "large")  # COCO's: below 32 x 32 pixels, below 96 x 96, and above
SIZE_BOUNDS = (32.0**2, 96.0**2)
TINY_SIDE = 3.0  # pixels; nothing can be learnt from less
BEYOND = 1.0  # pixels that a box may reach out of its image without being reported
THUMBNAIL = 16  # a picture is recognised by the differences of neighbouring pixels in so many columns and rows
LEAST_LEARNT = 24  # pixels of an object in the network's input
SMALLEST_SHARE = 0.1  # of the objects may be smaller than that
ENLARGEMENT = 1.5  # largest that is suggested


@dataclass
class SplitFacts:
    """Facts of one split.

    Attributes:
        name: train or val.
        class_names: that its annotations name.
        images: number of images.
        without_objects: number of those without an object.
        objects: int64 [K, 3], objects of each class by `SIZES`.
        images_of_class: int64 [K], images with the class.
        most_objects: largest number of objects in an image.
        image_hw: int64 [I, 2].
        sides: float64 [G, 2], width and height of all objects in pixels.
        beyond: boxes that reach out of their image, one line each.
        tiny: (image, box) of objects with a side below `TINY_SIDE`.
        broken: one line for each image that cannot be read.
        problems: what the reader says.
        keys: {image: (checksum of the file, fingerprint of the picture)}.
        examples: {label: images with the most objects of it}.
    """

    name: str
    class_names: list[str]
    images: int = 0
    without_objects: int = 0
    objects: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    images_of_class: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    most_objects: int = 0
    image_hw: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    sides: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    beyond: list[str] = field(default_factory=list)
    tiny: list[tuple[Record, int]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    keys: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    examples: dict[int, list[Record]] = field(default_factory=dict)


def facts_of(dataset: DetectionDataset, name: str, most_examples: int = 3, decode: bool = True) -> SplitFacts:
    """Look at every annotation of a data set, and, with `decode`, at every image."""
    facts = SplitFacts(name, dataset.class_names, problems=list(dataset.problems), images=len(dataset))
    classes = len(dataset.class_names)
    facts.objects, facts.images_of_class = np.zeros((classes, len(SIZES)), np.int64), np.zeros(classes, np.int64)
    sides, found = [np.zeros((0, 2))], defaultdict(list)
    for record in dataset.records:
        targets = ~record.crowd
        labels, boxes = record.labels[targets], record.boxes[targets].astype(np.float64)
        size = boxes[:, 2:] - boxes[:, :2]
        np.add.at(facts.objects, (labels, np.searchsorted(SIZE_BOUNDS, size.prod(axis=1), side="right")), 1)
        counts = np.bincount(labels, minlength=classes)
        facts.images_of_class += counts > 0
        facts.without_objects += not len(labels)
        facts.most_objects = max(facts.most_objects, len(labels))
        facts.tiny += [(record, int(index)) for index in np.flatnonzero(size.min(axis=1, initial=np.inf) < TINY_SIDE)]
        sides.append(size)
        for label in np.flatnonzero(counts):
            found[int(label)].append((int(counts[label]), record))
        if decode:
            _look_at(record, facts)
    facts.sides = np.concatenate(sides)
    facts.image_hw = np.array([(record.height, record.width) for record in dataset.records]).reshape(-1, 2)
    facts.beyond = list(_beyond(dataset.coco_annotations()))
    for label, pairs in found.items():
        pairs.sort(key=lambda pair: -pair[0])
        facts.examples[label] = [record for _, record in pairs[:most_examples]]
    return facts


def _look_at(record: Record, facts: SplitFacts) -> None:
    """Decode an image, and keep what it can be recognised by."""
    try:
        image = load_image(record.image)
    except ImageError as error:
        facts.broken.append(str(error))
        return
    if image.shape[:2] != (record.height, record.width):
        facts.problems.append(
            f"{record.name}: has {image.shape[1]}x{image.shape[0]} pixels, its annotations say "
            f"{record.width}x{record.height}"
        )
    small = cv2.resize(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (THUMBNAIL + 1, THUMBNAIL), interpolation=cv2.INTER_AREA
    )
    differences = np.packbits(small[:, 1:] > small[:, :-1]).tobytes()
    checksum = hashlib.sha256(Path(record.name).read_bytes()).hexdigest()
    facts.keys[record.name] = (checksum, differences)


def _beyond(content: dict[str, Any]) -> Iterable[str]:
    sizes = {image["id"]: image for image in content["images"]}
    for annotation in content["annotations"]:
        image = sizes.get(annotation.get("image_id"))
        try:
            x, y, width, height = box_numbers(annotation.get("bbox"))
        except ValueError:
            continue
        if image is None:
            continue
        outside = max(-x, -y, x + width - image["width"], y + height - image["height"])
        if outside > BEYOND:
            yield f"{image['file_name']}: annotation {annotation.get('id')} reaches {outside:g} pixels out of the image"


def duplicates(splits: Sequence[SplitFacts]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Images that are there more than once.

    Returns:
        (how, [(split, image), ...]): "the same file", or "the same picture" in another file. Those between splits come
        first: what was trained on says nothing in evaluation.
    """
    groups: list[tuple[str, list[tuple[str, str]]]] = []
    seen: set[tuple] = set()
    for kind, how in enumerate(("the same file", "the same picture")):
        places = defaultdict(list)
        for split in splits:
            for image, keys in split.keys.items():
                places[keys[kind]].append((split.name, image))
        flat = bytes(THUMBNAIL * THUMBNAIL // 8)  # images of one colour are not alike for that
        for key, members in places.items():
            if len(members) > 1 and key != flat and tuple(members) not in seen:
                seen.add(tuple(members))
                groups.append((how, members))
    return sorted(groups, key=lambda group: len({split for split, _ in group[1]}) == 1)


def suggested_num_gts(splits: Sequence[SplitFacts]) -> int:
    """`num_gts` that no image exceeds: the largest number of objects, up to the next ten."""
    return max(-(-max((split.most_objects for split in splits), default=1) // 10) * 10, 10)


def suggested_size(facts: SplitFacts, multiple: int = 128, least: int = 256, most: int = 1344) -> tuple[int, int]:
    """Height and width of an input in which nine of ten objects have at least 24 pixels, in the images' usual shape.

    Args:
        facts: of the training data.
        multiple: sides are rounded to multiples of it.
        least: smallest side.
        most: largest side.
    """
    height, width = np.median(facts.image_hw, axis=0) if len(facts.image_hw) else (least, least)
    shorter = np.quantile(facts.sides.min(axis=1), SMALLEST_SHARE) if len(facts.sides) else LEAST_LEARNT
    scale = min(LEAST_LEARNT / max(float(shorter), 1e-6), ENLARGEMENT)
    height, width = (min(max(round(side * scale / multiple) * multiple, least), most) for side in (height, width))
    return int(height), int(width)


def suggested_shapes(facts: SplitFacts, input_hw: tuple[int, int], count: int = 5) -> tuple[list[float], list[float]]:
    """Sides of square anchors, and ratios of height to width, that stand for equal parts of the objects.

    Args:
        facts: of the training data.
        input_hw: of the network's input, which images are fitted into.
        count: number of sides.
    """
    if not len(facts.sides):
        return [], []
    scale = float(np.median(np.min(np.array(input_hw) / facts.image_hw, axis=1)))
    roots = np.sqrt(facts.sides.prod(axis=1)) * scale
    ratios = np.quantile(facts.sides[:, 1] / facts.sides[:, 0], (1 / 6, 1 / 2, 5 / 6))
    sides = np.quantile(roots, (np.arange(count) + 0.5) / count)
    return [float(f"{side:.3g}") for side in sides], [float(f"{ratio:.2g}") for ratio in ratios]
