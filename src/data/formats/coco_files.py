"""Find the annotation file and the image folder of a data set from the one path that a user gives."""

import os
from collections.abc import Iterable
from pathlib import Path

from src.common.errors import UserError

PREFIXES = ("instances_", "instance_")  # of annotation files in annotations/: COCO's, and a published README's
SPLIT_NAMES = {"train": ("train",), "val": ("validation", "val", "valid")}


def find_annotation_file(path: str | os.PathLike, split: str, key: str = "") -> Path:
    """Annotation file that `path` stands for.

    In this order, `path` may be:
    1. an annotation file (.json);
    2. a folder with `labels.json` (and `data/`: the COCO export of FiftyOne);
    3. an image folder with annotations beside it: `train2017/` + `annotations/instances_train2017.json`;
    4. a root folder with `annotations/instances_<split>*.json` (COCO's layout);
    5. a root folder with `train/labels.json` or `validation/labels.json`.

    Where the names of 3 and 4 start with `instances_`, `instance_` is the second choice.

    Args:
        path: what the user gave.
        split: "train" or "val": which one to take from a root folder.
        key: the key that gave the path, for messages; empty: train_dataset or val_dataset.

    Raises:
        UserError: nothing, or more than one candidate, was found; says what was looked for.
    """
    path = Path(path)
    key = key or f"{split}_dataset"
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{key} {path} does not exist; give a data set folder or an annotation file")
    names = SPLIT_NAMES[split]
    beside = [path.absolute().parent / "annotations" / f"{prefix}{path.absolute().name}.json" for prefix in PREFIXES]
    choices = [
        [path / "labels.json"],
        *([candidate] for candidate in beside),
        *(sorted((path / "annotations").glob(f"{prefix}{name}*.json")) for name in names for prefix in PREFIXES),
        [path / name / "labels.json" for name in names],
    ]
    for candidates in choices:
        found = [candidate for candidate in candidates if candidate.is_file()]
        if len(found) > 1:
            listed = ", ".join(str(candidate) for candidate in found)
            raise UserError(f"{key} {path}: more than one annotation file fits ({listed}); give one of them")
        if found:
            return found[0]
    raise UserError(
        f"{key} {path}: no annotations found; looked for {path / 'labels.json'}, {beside[0]}, "
        f"{path / 'annotations' / f'instances_{split}*.json'} and {path / names[0] / 'labels.json'}"
    )


def find_images_dir(annotation_file: Path, file_names: Iterable[str]) -> Path:
    """Folder that the images' file names are relative to.

    Args:
        annotation_file: the annotation file; its own name (`instances_X.json`) names folders to try.
        file_names: file names of the annotations; the first folder that holds one of some twenty of them is taken.

    Raises:
        UserError: no folder holds any of these images; lists the folders that were tried.
    """
    here = annotation_file.absolute().parent
    stem = annotation_file.stem
    for prefix in PREFIXES:
        stem = stem.removeprefix(prefix)
    folders = [here / "data", here / "images", here / stem, here, here.parent / stem, here.parent / "images" / stem]
    folders += [here.parent / "images", here.parent / "data", here.parent]
    names = list(file_names)
    samples = names[:: max(len(names) // 20, 1)]
    for folder in folders:
        if any((folder / name).is_file() for name in samples):
            return folder
    if not samples:
        return next((folder for folder in folders if folder.is_dir()), here)
    tried = ", ".join(str(folder) for folder in folders)
    raise UserError(f"{annotation_file}: its images (such as {samples[0]}) are in none of the folders {tried}")
