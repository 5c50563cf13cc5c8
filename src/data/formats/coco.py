"""Read COCO-format annotations into records, mapping categories by name."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.common.json_files import parse_json, read_json_file
from src.common.text import shortened
from src.data.annotations.cache import cached_columns
from src.data.annotations.columns import AnnotationColumns
from src.data.annotations.parsing import Content, make_columns, split_content
from src.data.annotations.records import ColumnRecords
from src.data.coco_content import check_annotations, check_categories, check_images
from src.data.formats.api import DatasetFormat, given_path, split_name, training_subset
from src.data.formats.coco_files import PREFIXES, find_annotation_file, find_images_dir
from src.data.formats.fiftyone import is_labels_file
from src.data.reader_checks import FolderListings, subset
from src.data.reading_speed import without_garbage_collection
from src.data.record import Record
from src.schema import Config

NOT_UTF8 = "not a text file in UTF-8; give a COCO annotation file (.json)"
_ANNOTATIONS = (*(f"annotations/{prefix}*.json" for prefix in PREFIXES), "*/labels.json")


class CocoDataset:
    """A `DetectionDataset` in COCO's format: one record per image, images without objects included.

    Attributes:
        records: sequence of `Record`, in the order of the annotation file; each is made when it is asked for.
        class_names: names of the foreground classes; label k is `class_names[k]`.
        category_ids: the data set's own category ids, in class order.
        annotation_file: what was found.
        images_dir: folder that the images' file names are relative to.
        problems: one line for each thing that was skipped or fixed, with its path.
        missing_images: paths of images that the annotations name and the folder lacks (left out of `records`).
    """

    voc_metrics = False

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        split: str = "train",
        with_masks: bool = False,
        first: int = 0,
        every: int = 0,
        images_dir: str | os.PathLike = "",
    ) -> None:
        """Read the annotations; images are only looked up, not opened.

        Args:
            path: see `find_annotation_file`.
            class_names: names of the foreground classes, in label order.
            split: "train" or "val".
            with_masks: keep the segmentations, leave out objects without a usable one.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.
            images_dir: folder that file names are relative to; empty: see `find_images_dir`.

        Raises:
            UserError: files that are not found or not valid, categories that differ from `class_names`, duplicate ids;
                with_masks: none of the objects has a segmentation.
        """
        self.annotation_file = find_annotation_file(path, split)
        self.class_names = list(class_names)
        self.problems: list[str] = []
        with without_garbage_collection():
            self._read(first, every, with_masks, images_dir)

    def _read(self, first: int, every: int, with_masks: bool, images_dir: str | os.PathLike) -> None:
        try:
            columns = cached_columns(self.annotation_file, self._parse)
        except OSError as error:
            raise UserError(f"{self.annotation_file}: {error.strerror or error}") from None
        self.category_ids = self._map_categories(columns.categories)
        names = columns.names.decoded()
        self.images_dir = Path(images_dir) if images_dir else find_images_dir(self.annotation_file, names)
        if columns.strays:
            self.problems.append(
                f"{self.annotation_file}: {columns.strays} annotations of images that it does not list were skipped "
                f"(the first: image_id {columns.first_stray})"
            )
        rows = self._look_up(names, subset(list(range(len(names))), first, every))
        records = ColumnRecords(columns, rows, self.images_dir, self.category_ids, with_masks)
        self.records: Sequence[Record] = records
        maker = records.report()
        self.problems += maker.problems
        maker.check_masks(self.records, self.annotation_file)

    def _parse(self) -> AnnotationColumns:
        """Parse and check the annotation file."""
        content = self._content()
        self._map_categories(content.categories)
        try:
            return make_columns(self.annotation_file, content)
        except json.JSONDecodeError as error:  # an annotation that only a lenient parser takes
            raise UserError(f"{self.annotation_file}: not valid JSON ({error.msg})") from None
        except UnicodeDecodeError:
            raise UserError(f"{self.annotation_file}: {NOT_UTF8}") from None

    def _content(self) -> Content:
        """The three lists of the annotation file, images and categories checked."""
        return read_content(self.annotation_file)

    def coco_annotations(self) -> dict:
        """The content of the annotation file."""
        return parse_json(self.annotation_file.read_bytes())

    def __len__(self) -> int:
        return len(self.records)

    def _map_categories(self, categories: list[dict]) -> list[int]:
        """The annotations' category ids in class order."""
        names = [str(category["name"]) for category in categories]
        if sorted(names) != sorted(self.class_names):
            lacking = [name for name in self.class_names if name not in names]
            beyond = [shortened(name) for name in names if name not in self.class_names]
            twice = [shortened(name) for name, count in Counter(names).items() if count > 1]
            listed = [shortened(name) for name in names]
            raise UserError(
                f"{self.annotation_file}: its {len(names)} categories differ from the {len(self.class_names)} classes "
                f"of coco_classes (background apart): only in coco_classes {lacking}, only in the annotations {beyond}"
                + (f", more than once {twice}" if twice else "")
                + f"; coco_classes {self.class_names}, annotations {listed}; set coco_classes to 'background' and the "
                f"annotations' names, and num_classes to {len(set(names)) + 1}"
            )
        by_name = {str(category["name"]): category["id"] for category in categories}
        return [by_name[name] for name in self.class_names]

    def _look_up(self, names: list[str], rows: list[int]) -> np.ndarray:
        """Those of `rows` whose file is there; the others are noted as missing."""
        listings = FolderListings()
        here = listings.names(os.fspath(self.images_dir))
        present: list[int] = []
        self.missing_images: list[str] = []
        for row in rows:
            if names[row] in here:
                present.append(row)
                continue
            path = os.path.join(self.images_dir, names[row])  # noqa: PTH118  a Path for each of 100,000 is slow
            if path in listings:
                present.append(row)
            else:
                self.missing_images.append(path)
                self.problems.append(f"{path}: missing; {self.annotation_file} names it")
        return np.array(present, np.int64)


def read_content(path: Path, complete: Callable[[list], None] = lambda images: None) -> Content:
    """The three lists of an annotation file; the annotations are parsed later, where the file is plain JSON.

    Args:
        path: the file.
        complete: adds to the images what they lack, before they are checked.
    """
    content = split_content(path.read_bytes())
    if content is None:
        parsed = read_annotations(path, complete)
        return Content(parsed["images"], parsed["categories"], parsed["annotations"])
    complete(content.images)
    _check_lists({"images": content.images, "categories": content.categories}, path)
    return content


def read_annotations(path: Path, complete: Callable[[list], None] = lambda images: None) -> dict:
    """The content of a COCO annotation file, checked to be one (see `coco_content`, `read_content`)."""
    content = read_json_file(path, "{}", not_text=NOT_UTF8)
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(name), list):
            raise UserError(f"{path}: no list '{name}'; a COCO annotation file has images, annotations and categories")
    complete(content["images"])
    _check_lists(content, path)
    check_annotations(content, path)
    return content


def _check_lists(content: dict, path: Path) -> None:
    if not check_images(content, path):
        raise UserError(f"{path}: names no images")
    check_categories(content, path)


def category_names(path: Path, complete: Callable[[list], None] = lambda images: None) -> list[str]:
    """The names of the categories of an annotation file, in its order; see `read_content`. Raises UserError."""
    try:
        categories = read_content(path, complete).categories
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    return [str(category["name"]) for category in categories]


def _class_names(config: Config, training: bool) -> list[str]:
    path = given_path(config, training) or _in_coco_root(config, training)
    return category_names(find_annotation_file(path, split_name(training)))


def _holds(folder: Path) -> bool:
    found = [path for pattern in ("labels.json", *_ANNOTATIONS) if (path := next(folder.glob(pattern), None))]
    return any(not is_labels_file(path) for path in found)


def _open_split(config: Config, training: bool, with_masks: bool) -> CocoDataset:
    path = given_path(config, training) or _in_coco_root(config, training)
    first, every = training_subset(config, training)
    dataset = CocoDataset(path, config.class_names, split_name(training), with_masks, first, every)
    dataset.problems += _takes_another_name(config, training, dataset.annotation_file)
    return dataset


def _open_path(path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> CocoDataset:
    del category_ids  # the annotations have their own
    return CocoDataset(path, class_names, "val", images_dir=images_dir)


def _instance_set_file(config: Config, training: bool) -> Path:
    """The annotation file that `instance_set` stands for.

    Raises:
        UserError: it does not exist.
    """
    _, data_type = _data_type(config, training)
    path = Path(config.coco_root) / config.instance_set.replace("{}", data_type)
    if not path.is_file():
        raise UserError(f"instance_set: {path} does not exist; give the annotation file, {{}} stands for {data_type}")
    return path


def _data_type(config: Config, training: bool) -> tuple[str, str]:
    """The key that names the data type, and its value."""
    value = config.train_data_type if training else config.val_data_type
    return f"{split_name(training)}_data_type", value


def _in_coco_root(config: Config, training: bool) -> Path:
    """The annotation file in coco_root, which has another layout where the data type is the default."""
    if config.instance_set:
        return _instance_set_file(config, training)
    root = Path(config.coco_root)
    key, data_type = _data_type(config, training)
    names = [*(f"annotations/{prefix}{data_type}.json" for prefix in PREFIXES), f"{data_type}/labels.json"]
    if found := next((root / name for name in names if (root / name).is_file()), None):
        return found
    if root.is_dir() and data_type != type(config).model_fields[key].default:
        there = sorted(str(path.relative_to(root)) for pattern in _ANNOTATIONS for path in root.glob(pattern))
        raise UserError(
            f"{key} {data_type}: coco_root {root} has none of {', '.join(names)}; "
            f"there are {', '.join(there) or 'none'}"
        )
    return find_annotation_file(root, split_name(training), "coco_root")


def _takes_another_name(config: Config, training: bool, annotation_file: Path) -> list[str]:
    """A line when coco_root has annotations of the split, but not of the data type."""
    key, data_type = _data_type(config, training)
    if given_path(config, training) or config.instance_set or annotation_file.parent.name != "annotations":
        return []
    if annotation_file.name in [f"{prefix}{data_type}.json" for prefix in PREFIXES]:
        return []
    return [f"{annotation_file}: taken, since coco_root has no annotations of {key} {data_type}"]


def _has_absolute_instance_set(config: Config) -> bool:
    return Path(config.instance_set).is_absolute()


def _named_annotations(config: Config, training: bool) -> Path | None:
    """A relative instance_set lies in coco_root, which need not be there beside MindRecord files."""
    return _instance_set_file(config, training) if _has_absolute_instance_set(config) else None


FORMAT = DatasetFormat(
    "coco_root",
    True,
    _open_split,
    _open_path,
    _has_absolute_instance_set,
    _named_annotations,
    _class_names,
    _holds,
)
