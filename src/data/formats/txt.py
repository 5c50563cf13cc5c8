"""Read lists of images with boxes, one line per image: `path x1,y1,x2,y2,class x1,y1,x2,y2,class ...`."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from src.common.errors import UserError
from src.common.text import shortened, shown
from src.data.formats.api import DatasetFormat, given_path, training_subset
from src.data.formats.listed import ListedDataset, ListedImage, ListedObject
from src.data.reader_checks import check_unique, subset
from src.schema import Config

# The path ends with the last image suffix of the line, so that it may hold spaces.
_LINE = re.compile(r"(?P<path>.*\.(?:jpe?g|png|bmp|webp|tiff?|gif|ppm|pgm|jp2))(?:\s+(?P<objects>.*))?", re.IGNORECASE)


class TxtDataset(ListedDataset):
    """The images of a TXT list, those without objects included.

    A line is the image's path, relative to the folder of images, and its objects as xmin,ymin,xmax,ymax,class: pixels
    from 0, xmax and ymax exclusive, and the class as its number in `coco_classes`, where 0 is the background: the first
    class is 1. Empty lines are passed over.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        class_names: Sequence[str],
        images_dir: str | os.PathLike = "",
        category_ids: Sequence[int] = (),
        first: int = 0,
        every: int = 0,
    ) -> None:
        """Read the list.

        Args:
            path: the list, a text file.
            class_names: names of the foreground classes; number n of the list is class_names[n - 1].
            images_dir: folder that the paths are relative to; empty: the list's own.
            category_ids: see `ListedDataset`.
            first: keep the first so many images; 0: all.
            every: then keep images 0, n, 2n, ...; 0: all.

        Raises:
            UserError: a file or a line that cannot be read, an unknown class, an image in two lines, no images.
        """
        path = Path(path)
        folder = str(images_dir or path.parent)
        images = list(_images(path, folder, class_names))
        if not images:
            raise UserError(f"{path}: names no images; a line is: image.jpg xmin,ymin,xmax,ymax,class ...")
        check_unique((image.where, image.path) for image in images)
        super().__init__(path, subset(images, first, every), class_names, category_ids)
        self.images_dir = Path(folder)


def _images(path: Path, folder: str, class_names: Sequence[str]) -> Iterator[ListedImage]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        parts = _LINE.fullmatch(line.strip())
        if parts is None:
            raise UserError(
                f"{where}: no image in '{shortened(line.strip())}'; a line starts with the path of an image "
                "(.jpg, .png, ...)"
            )
        objects = [_object(where, text, class_names) for text in (parts["objects"] or "").split()]
        if "\0" in parts["path"]:
            raise UserError(f"{where}: {shown(parts['path'])} is not the name of a file")
        image = os.path.join(folder, parts["path"])  # noqa: PTH118  a Path for each of 100,000 is slow
        yield ListedImage(where, image, None, objects)


def _lines(path: Path) -> list[str]:
    if path.is_dir():
        raise UserError(f"{path}: is a folder; dataset 'other' takes a TXT list of images and boxes")
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: it breaks at more than line ends
    except OSError as error:
        raise UserError(f"{path}: cannot read the list ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8; dataset 'other' takes a TXT list") from None


def _object(where: str, text: str, class_names: Sequence[str]) -> ListedObject:
    try:
        x1, y1, x2, y2, number = (float(value) for value in text.split(","))
        if number != int(number):
            raise ValueError
    except (ValueError, OverflowError):
        raise UserError(
            f"{where}: '{shortened(text)}' is not xmin,ymin,xmax,ymax,class: four pixel coordinates and the number of "
            "a class, separated by commas only"
        ) from None
    if not 1 <= number <= len(class_names):
        hint = "0 is the background: classes count from 1" if number == 0 else "the classes count from 1"
        raise UserError(
            f"{where}: class {number:g} of '{shortened(text)}' is not one of the {len(class_names)} classes "
            f"of coco_classes ({hint}, 1 is '{class_names[0]}', {len(class_names)} is '{class_names[-1]}')"
        )
    return ListedObject(where, int(number) - 1, (x1, y1, x2, y2))


def _open_split(config: Config, training: bool, with_masks: bool) -> TxtDataset:
    del with_masks  # boxes only
    given = given_path(config, training)
    first, every = training_subset(config, training)
    path = given or config.anno_path
    dataset = TxtDataset(path, config.class_names, config.image_dir, config.category_ids, first, every)
    if not training and not given and config.train_dataset in ("", config.anno_path):
        dataset.problems.append(f"{dataset.annotation_file}: evaluated, and trained on too where val_dataset is empty")
    return dataset


def _open_path(path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> TxtDataset:
    return TxtDataset(path, class_names, images_dir, category_ids)


FORMAT = DatasetFormat("anno_path", False, _open_split, _open_path)
