"""What training and evaluation need of a data set, whatever its format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from src.data.record import Record


class DetectionDataset(Protocol):
    """Images with their objects.

    Attributes:
        records: the images that are there, in the order of the annotations; a list, or made when they are asked for.
        class_names: names of the foreground classes; label k is `class_names[k]`.
        category_ids: the data set's own id of each class, in class order.
        annotation_file: what messages call the data set.
        problems: one line for each thing that was skipped, with its path.
        missing_images: paths of images that the annotations name and that are not there (left out of `records`).
        voc_metrics: whether evaluation reports the mean AP of Pascal VOC beside COCO's.
    """

    class_names: list[str]
    category_ids: list[int]
    annotation_file: Path
    problems: list[str]
    missing_images: list[str]
    voc_metrics: bool

    @property
    def records(self) -> Sequence[Record]:
        """See above."""

    def __len__(self) -> int:
        """Number of records."""

    def coco_annotations(self) -> dict[str, Any]:
        """The ground truth as a COCO annotation file would hold it, missing images included."""
