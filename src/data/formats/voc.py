"""Read Pascal VOC annotations: XML files, one per image."""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.common.errors import UserError
from src.common.text import shortened, shown
from src.data.formats.api import DatasetFormat, given_path, split_name, training_subset
from src.data.formats.listed import ClassLabels, ListedDataset, ListedImage, ListedObject, select_objects
from src.data.formats.voc_files import VocImageSet, find_voc_sets
from src.data.formats.xml_file import parse_xml, places
from src.data.reader_checks import FolderListings, check_unique, subset
from src.data.record import Record
from src.schema import Config

MOST_DIGITS = 9  # of an image's side
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".JPG", ".JPEG", ".PNG")


class VocDataset(ListedDataset):
    """The images of Pascal VOC image sets, those without objects included.

    VOC counts pixels from 1, and xmax, ymax are the last pixels inside; records count from 0 and end behind the last
    pixel: (xmin - 1, ymin - 1, xmax, ymax). So a box covers just the pixels that VOC's does, and the overlap of two
    boxes is what VOC's own formula, with its + 1, gives. (Some readers subtract 1 from all four, which leaves boxes a
    pixel short.)
    """

    voc_metrics = True

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        split: str = "train",
        image_sets: Sequence[str] = (),
        keep_difficult: bool = True,
        category_ids: Sequence[int] = (),
        first: int = 0,
        every: int = 0,
    ) -> None:
        """Read the annotations; images are only looked up.

        Args:
            path: what the user gave; see `find_voc_sets`.
            split: "train" or "val".
            image_sets: names of image sets; empty: as found.
            class_names: names of the foreground classes, in label order.
            keep_difficult: keep objects marked difficult in `records` (evaluation's ground truth always has them).
            category_ids: see `ListedDataset`.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.

        Raises:
            UserError: folders that are not found, lists or XML files that cannot be read, objects of other classes.
        """
        sets = find_voc_sets(path, split, image_sets)
        listed = _listed(sets)
        reader = _AnnotationReader(ClassLabels(class_names))
        images = [reader.read(path, images_dir) for _, path, images_dir in subset(listed, first, every)]
        super().__init__(sets[0].source, images, class_names, category_ids)
        self.images_dir = sets[0].images_dir
        if not keep_difficult:
            self.records = [_without_difficult(record) for record in self.records]


def _listed(sets: Sequence[VocImageSet]) -> list[tuple[str, Path, Path]]:
    """The items of all sets; there are some, and each occurs once."""
    listed = [item for one in sets for item in _items(one)]
    if not listed:
        raise UserError(f"{sets[0].source}: names no images")
    check_unique((where, path) for where, path, _ in listed)
    return listed


def _items(image_set: VocImageSet) -> Iterator[tuple[str, Path, Path]]:
    """(where it is listed, path of the annotation, folder of images) of each image of a set."""
    source, annotations = image_set.source, image_set.annotations_dir
    if source.is_dir():
        for path in sorted(annotations.glob("*.xml")):
            yield str(annotations), path, image_set.images_dir
        return
    try:
        lines = source.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{source}: cannot read the list ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{source}: not a list of image names in UTF-8") from None
    listings = FolderListings()
    for number, line in enumerate(lines, 1):
        if name := line.strip():
            path = annotations / f"{name}.xml"
            if str(path) not in listings:
                raise UserError(f"{source}, line {number}: '{shortened(name)}' has no annotation {path}")
            yield f"{source}, line {number}", path, image_set.images_dir


class _AnnotationReader:
    """Reads XML files into `ListedImage`s."""

    def __init__(self, labels: ClassLabels) -> None:
        self._labels = labels
        self._listings = FolderListings()

    def read(self, path: Path, images_dir: Path) -> ListedImage:
        text, root = parse_xml(path)
        if root.tag != "annotation":
            raise UserError(f"{path}: its root is <{root.tag}>; a VOC annotation is an <annotation>")
        nodes = root.findall("object")
        wheres = places(path, text, "object", len(nodes))
        objects = [self._object(where, node) for where, node in zip(wheres, nodes, strict=True)]
        return ListedImage(str(path), self._image_path(path, images_dir, root), _size_hw(path, root), objects)

    def _image_path(self, path: Path, images_dir: Path, root: ElementTree.Element) -> str:
        """The image of the annotation's own name, else the one that it names."""
        named = root.findtext("filename", "").strip()
        if "\0" in named or any("\ud800" <= character <= "\udfff" for character in named):
            raise UserError(f"{path}: filename {shown(named)} is not the name of a file")
        candidates = [path.stem + suffix for suffix in _SUFFIXES] + ([named] if named else [])
        present = self._listings.names(str(images_dir))
        return str(images_dir / next((name for name in candidates if name in present), named or candidates[0]))

    def _object(self, where: str, node: ElementTree.Element) -> ListedObject:
        name = node.findtext("name", "").strip()
        try:
            x1, y1, x2, y2 = (float(node.findtext(f"bndbox/{corner}", "")) for corner in _CORNERS)
            difficult = int(node.findtext("difficult", "0").strip() or 0) != 0
        except ValueError:
            raise UserError(
                f"{where}: object '{shortened(name)}' needs a bndbox with numbers as "
                f"{', '.join(_CORNERS)}, and 0 or 1 as difficult where it has one"
            ) from None
        return ListedObject(where, self._labels.of(where, name), (x1 - 1, y1 - 1, x2, y2), difficult)


def _size_hw(path: Path, root: ElementTree.Element) -> tuple[int, int] | None:
    """(height, width) where the annotation says both; some tools write 0."""
    sides = [root.findtext(f"size/{name}", "").strip() for name in ("height", "width")]
    if not all(re.fullmatch(r"[1-9][0-9]*", side) for side in sides):
        return None
    if any(len(side) > MOST_DIGITS for side in sides):
        shown_sides = " and width ".join(map(shortened, sides))
        raise UserError(f"{path}: its size has height {shown_sides}: no image is that large")
    return int(sides[0]), int(sides[1])


def _without_difficult(record: Record) -> Record:
    return record if record.difficult is None else select_objects(record, ~record.difficult)


def _open_split(config: Config, training: bool, with_masks: bool) -> VocDataset:
    del with_masks  # boxes only
    first, every = training_subset(config, training)
    return VocDataset(
        given_path(config, training) or config.voc_root,
        config.class_names,
        split_name(training),
        _set_names(config, training),
        config.keep_difficult or not training,
        config.category_ids,
        first,
        every,
    )


def _open_path(path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> VocDataset:
    del images_dir  # beside the annotations
    return VocDataset(path, class_names, "val", category_ids=category_ids)


def _class_names(config: Config, training: bool) -> list[str]:
    """The names of all objects, in alphabetical order."""
    path = given_path(config, training) or config.voc_root
    labels = ClassLabels()
    reader = _AnnotationReader(labels)
    for _, annotation, images_dir in _listed(find_voc_sets(path, split_name(training), _set_names(config, training))):
        reader.read(annotation, images_dir)
    return labels.found


def _set_names(config: Config, training: bool) -> list[str]:
    return config.voc_train_sets if training else config.voc_val_sets


def _holds(folder: Path) -> bool:
    years = [folder, folder / "VOCdevkit", *(folder.iterdir() if folder.is_dir() else ())]
    return any((year / "Annotations").is_dir() for year in years) or bool(list(folder.glob("VOCdevkit/*/Annotations")))


FORMAT = DatasetFormat("voc_root", False, _open_split, _open_path, class_names=_class_names, holds=_holds)
