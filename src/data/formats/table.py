"""The data-set formats by their names: the values of the key `dataset`. A new format is one line here."""

from src.data.formats import coco, cvat, labelme, lvis, txt, voc, yolo
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
}


def format_of(config: Config) -> DatasetFormat:
    """The format that a checked configuration's `dataset` names."""
    return FORMATS[config.dataset]
