"""The data-set formats by their names: the values of the key `dataset`. A new format is one line here."""

from pathlib import Path

from src.common.errors import UserError
from src.data.formats import coco, cvat, fiftyone, labelme, lvis, txt, voc, yolo
from src.data.formats.api import DatasetFormat
from src.schema import Config

FORMATS: dict[str, DatasetFormat] = {
    "coco": coco.FORMAT,
    "voc": voc.FORMAT,
    "other": txt.FORMAT,
    "yolo": yolo.FORMAT,
    "labelme": labelme.FORMAT,
    "lvis": lvis.FORMAT,
    "cvat": cvat.FORMAT,
    "fiftyone": fiftyone.FORMAT,
}


def format_of(config: Config) -> DatasetFormat:
    """The format that a checked configuration's `dataset` names."""
    return FORMATS[config.dataset]


def format_at(folder: str | Path) -> str:
    """The name of the format of a data set in a folder, from what lies there.

    Raises:
        UserError: it looks like none of them, or like several.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: is no folder of a data set; to give a file, name its format ({', '.join(FORMATS)})")
    found = [name for name, one in FORMATS.items() if one.holds(folder)]
    if len(found) != 1:
        looks = f"looks like {' and like '.join(found)}" if found else "looks like no known format"
        raise UserError(f"{folder}: {looks}; name the format ({', '.join(FORMATS)}) and give what docs/data.md says")
    return found[0]
