"""The formats that data sets can be written in, by their names. A new one is one line here."""

from src.data.writers import coco, fiftyone, labelme, voc, yolo
from src.data.writers.api import SplitWriter

WRITERS: dict[str, SplitWriter] = {
    "coco": coco.write,
    "yolo": yolo.write,
    "voc": voc.write,
    "labelme": labelme.write,
    "fiftyone": fiftyone.write,
}
