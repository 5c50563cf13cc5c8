"""Read LVIS annotations: COCO's JSON, with images named by their address, and classes that are exhaustive in places."""

import os
from collections.abc import Sequence
from pathlib import Path

from src.common.errors import UserError
from src.data.annotations.parsing import Content
from src.data.formats.api import DatasetFormat, annotation_path, split_name, training_subset
from src.data.formats.coco import CocoDataset, category_names, read_content
from src.data.formats.folders import require_existing
from src.schema import Config


class LvisDataset(CocoDataset):
    """The images of an LVIS file; see `CocoDataset`.

    Version 1 has no file names: an image is named by the last two parts of its `coco_url`, as `train2017/1.jpg` in the
    folder of COCO's images. `neg_category_ids`, `not_exhaustive_category_ids` and `frequency` are accepted, not used:
    every class counts in every image, as COCO's evaluation has it, so AP is lower than LVIS's own.
    """

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
        """Read the annotations; the arguments are those of `CocoDataset`, `path` is that of `find_lvis_file`."""
        super().__init__(find_lvis_file(Path(path), split), class_names, split, with_masks, first, every, images_dir)

    def _content(self) -> Content:
        return read_content(self.annotation_file, name_images)

    def coco_annotations(self) -> dict:
        """The content of the annotation file, each image with a file name."""
        content = super().coco_annotations()
        name_images(content["images"])
        return content


def name_images(images: list) -> None:
    """Give each image without a `file_name` the one that its `coco_url` ends with."""
    for image in images:
        if isinstance(image, dict) and "file_name" not in image and isinstance(image.get("coco_url"), str):
            image["file_name"] = "/".join(image["coco_url"].split("/")[-2:])


def find_lvis_file(path: Path, split: str) -> Path:
    """The file itself, or the one of a split (`lvis_v1_train.json`) in a folder or its `annotations/`.

    Raises:
        UserError: there is none, or more than one.
    """
    require_existing(path, "an annotation file of LVIS, or its folder")
    if not path.is_dir():
        return path
    found = [file for folder in (path, path / "annotations") for file in sorted(folder.glob(f"lvis*_{split}*.json"))]
    if len(found) != 1:
        there = ", ".join(map(str, found)) or f"no lvis*_{split}*.json, nor one in annotations/"
        raise UserError(f"{path}: has {there}; give the annotation file")
    return found[0]


def _file(config: Config, training: bool) -> Path:
    return find_lvis_file(annotation_path(config, training), split_name(training))


def _open_split(config: Config, training: bool, with_masks: bool) -> LvisDataset:
    first, every = training_subset(config, training)
    path = _file(config, training)
    return LvisDataset(path, config.class_names, split_name(training), with_masks, first, every, config.image_dir)


def _open_path(path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> LvisDataset:
    del category_ids  # the annotations have their own
    return LvisDataset(path, class_names, "val", images_dir=images_dir)


def _class_names(config: Config, training: bool) -> list[str]:
    return category_names(_file(config, training), name_images)


def _holds(folder: Path) -> bool:
    return any(next(place.glob("lvis*.json"), None) for place in (folder, folder / "annotations"))


FORMAT = DatasetFormat("anno_path", True, _open_split, _open_path, class_names=_class_names, holds=_holds)
