"""The `DatasetFormat` of annotation tools whose readers take the same arguments."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from src.data.detection_dataset import DetectionDataset
from src.data.formats.api import DatasetFormat, annotation_path, split_name, training_subset
from src.schema import Config


class Reader(Protocol):
    """A class of data sets that have masks and no ids of their own."""

    def __call__(
        self,
        path: Path | str,
        class_names: Sequence[str],
        split: str,
        with_masks: bool,
        images_dir: str,
        category_ids: Sequence[int],
        first: int = 0,
        every: int = 0,
    ) -> DetectionDataset:
        """Read the annotations; arguments as of `LabelmeDataset`."""


def drawn_format(
    reader: Reader, class_names: Callable[[Config, bool], list[str]], holds: Callable[[Path], bool]
) -> DatasetFormat:
    """The format that `reader` reads; the other arguments are those of `DatasetFormat`."""

    def open_split(config: Config, training: bool, with_masks: bool) -> DetectionDataset:
        return reader(
            annotation_path(config, training),
            config.class_names,
            split_name(training),
            with_masks,
            config.image_dir,
            config.category_ids,
            *training_subset(config, training),
        )

    def open_path(path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> DetectionDataset:
        return reader(path, class_names, "val", False, images_dir, category_ids)

    return DatasetFormat("anno_path", True, open_split, open_path, class_names=class_names, holds=holds)
