"""Find the image sets of a Pascal VOC data set from the one path that a user gives."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from src.common.errors import UserError

_SPLIT_FOLDERS = {"train": ("train",), "val": ("eval", "val", "validation", "test")}
_IMAGE_FOLDERS = ("JPEGImages", "Images", "images")


@dataclass
class VocImageSet:
    """Images of one folder.

    Attributes:
        source: the list of images, or where there is none the folder of annotations, all of which belong to it.
        annotations_dir, images_dir: folders of XML files and images.
    """

    source: Path
    annotations_dir: Path
    images_dir: Path


def find_voc_sets(path: str | os.PathLike, split: str, names: Sequence[str] = ()) -> list[VocImageSet]:
    """The image sets that `path` stands for.

    In this order, `path` may be:
    1. a list of images: `VOC2007/ImageSets/Main/trainval.txt`;
    2. one year's folder with `Annotations/` and `JPEGImages/`; with `ImageSets/Main/` the lists there choose, else all
       annotations are taken;
    3. `VOCdevkit`, a folder of such years, or the folder that holds it;
    4. a folder with `train/` and `eval/` (or `val/`, `validation/`, `test/`), each with XML files in `Annotations/` and
       images in `Images/` or `JPEGImages/`, or both side by side.

    Without `names`, lists are chosen as follows. Evaluation takes `test` where its annotations are there, of the first
    year that has one, else `val` of all years; training takes `trainval` of all years where evaluation takes `test`,
    else `train`.

    Args:
        path: what the user gave.
        split: "train" or "val".
        names: image sets to take: "VOC2007/trainval", or "trainval" for each year that has it.

    Raises:
        UserError: nothing was found; says what was looked for.
    """
    path = Path(path)
    if path.is_file():
        return [_of_list(path)]
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give VOCdevkit, the folder of one year, or a list of its images")
    years = _years(path)
    if names:
        return _named(path, years, names, f"voc_{split}_sets")
    if any((year / "ImageSets/Main").is_dir() for year in years):
        return _usual(path, years, split)
    if years:
        return [VocImageSet(year / "Annotations", year / "Annotations", _images_dir(year)) for year in years]
    return [_of_split_folder(path, split)]


def _of_list(path: Path) -> VocImageSet:
    year = path.absolute().parent.parent.parent
    if not (year / "Annotations").is_dir():
        raise UserError(f"{path}: lists of VOC are in ImageSets/Main/ beside Annotations/; {year} has no Annotations/")
    return VocImageSet(path, year / "Annotations", _images_dir(year))


def _years(path: Path) -> list[Path]:
    """Folders with XML files in Annotations/: the path itself, or those in it or in its VOCdevkit."""
    if (path / "Annotations").is_dir():
        return [path]
    if (path / "VOCdevkit").is_dir():
        path = path / "VOCdevkit"
    names = {name for folders in _SPLIT_FOLDERS.values() for name in folders}
    return [
        folder for folder in sorted(path.iterdir()) if (folder / "Annotations").is_dir() and folder.name not in names
    ]


def _images_dir(year: Path) -> Path:
    return next((year / name for name in _IMAGE_FOLDERS if (year / name).is_dir()), year)


def _list_of(year: Path, name: str) -> Path | None:
    path = year / "ImageSets" / "Main" / f"{name}.txt"
    return path if path.is_file() else None


def _named(path: Path, years: list[Path], names: Sequence[str], key: str) -> list[VocImageSet]:
    found = {name: _lists_of(years, name) for name in names}
    if absent := [name for name, lists in found.items() if not lists]:
        known = sorted(f"{y.name}/{one.stem}" for y in years for one in (y / "ImageSets/Main").glob("*.txt"))
        shown = ", ".join([one for one in known if "_" not in one][:20])  # not the lists of each class
        there = ",".join(name for name in names if name not in absent)
        raise UserError(
            f"{path}: no image set {' and '.join(map(repr, absent))}; there are {shown or 'none'} "
            f"({key} asks for {', '.join(names)}" + (f"; --{key} [{there}] takes what is there)" if there else ")")
        )
    return [_of_list(one) for lists in found.values() for one in lists]


def _lists_of(years: list[Path], name: str) -> list[Path]:
    """The lists of an image set: VOC2007/trainval, or trainval of each year that has it."""
    year_name, _, list_name = name.rpartition("/")
    lists = (_list_of(year, list_name) for year in years if year_name in ("", year.name))
    return [one for one in lists if one]


def _usual(path: Path, years: list[Path], split: str) -> list[VocImageSet]:
    tests = [one for year in years if (one := _list_of(year, "test")) and _is_annotated(one)][:1]
    if split == "val":
        lists = tests or [one for year in years if (one := _list_of(year, "val"))]
    else:
        name = "trainval" if tests else "train"
        lists = [one for year in years if (one := _list_of(year, name))]
    if not lists:
        wanted = "test.txt or val.txt" if split == "val" else "trainval.txt" if tests else "train.txt"
        raise UserError(f"{path}: no ImageSets/Main/{wanted} in {', '.join(year.name for year in years)}")
    return [_of_list(one) for one in lists]


def _is_annotated(list_file: Path) -> bool:
    """Whether the first image of a list has its annotation; the tests of some years were published without."""
    with list_file.open(encoding="utf-8", errors="replace") as file:
        stem = next((line.strip() for line in file if line.strip()), "")
    return (list_file.absolute().parent.parent.parent / "Annotations" / f"{stem}.xml").is_file()


def _of_split_folder(path: Path, split: str) -> VocImageSet:
    for name in _SPLIT_FOLDERS[split]:
        folder = path / name
        if not folder.is_dir():
            continue
        annotations = folder / "Annotations" if (folder / "Annotations").is_dir() else folder
        if next(annotations.glob("*.xml"), None):
            return VocImageSet(annotations, annotations, _images_dir(folder))
    raise UserError(
        f"{path}: no Pascal VOC data found; looked for Annotations/ in it, in its folders and in VOCdevkit, and for "
        f"XML files in {' or '.join(f'{name}/' for name in _SPLIT_FOLDERS[split])}"
    )
