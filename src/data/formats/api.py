"""What a data-set format tells the rest of the project about itself.

A new format is one file with a reader and a `DatasetFormat`, and one line in `table.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.data.detection_dataset import DetectionDataset
from src.schema import Config, lookup


class OpenSplit(Protocol):
    """Opens the data that a configuration names."""

    def __call__(self, config: Config, training: bool, with_masks: bool) -> DetectionDataset:
        """Open it.

        Args:
            config: says where the data is (see `given_path`) and what its classes are.
            training: the training data, reduced as `training_subset` says; else the evaluation data.
            with_masks: keep the masks; never asked of a format without.

        Raises:
            UserError: files that cannot be found or read.
        """


class OpenPath(Protocol):
    """Opens one set of annotations for evaluation, without a configuration."""

    def __call__(self, path: str, class_names: list[str], category_ids: list[int], images_dir: str) -> DetectionDataset:
        """Open it.

        Args:
            path: what the user gave: an annotation file or a folder.
            class_names: names of the foreground classes, in label order.
            category_ids: the id of each class, for annotations that have none of their own; empty: 1, 2, ...
            images_dir: folder of the images; empty: as the annotations say.

        Raises:
            UserError: files that cannot be found or read.
        """


@dataclass(frozen=True)
class DatasetFormat:
    """One way in which data sets are annotated.

    Attributes:
        root_key: configuration key that says where the data is when train_dataset or val_dataset is empty.
        has_masks: whether objects may have masks.
        open_split: opens the data of a configuration.
        open_path: opens the data at a path.
        is_located_elsewhere: whether yet another key of the configuration says where the data is; None: there is none.
        named_annotations: the COCO annotation file that a configuration expects MindRecord files to hold (raises a
            UserError where it does not exist), or None; called with what `open_split` gets first.
        class_names: reads the names of the foreground classes, in label order, from the training (or evaluation) data
            of a configuration; None: such annotations do not name classes.
        holds: whether a folder looks like a data set in this format, for programs that are given a folder alone.
    """

    root_key: str
    has_masks: bool
    open_split: OpenSplit
    open_path: OpenPath
    is_located_elsewhere: Callable[[Config], bool] | None = None
    named_annotations: Callable[[Config, bool], Path | None] = lambda config, training: None
    class_names: Callable[[Config, bool], list[str]] | None = None
    holds: Callable[[Path], bool] = lambda folder: False

    def is_located(self, config: Config, training: bool) -> bool:
        """Whether a configuration says where the training (or evaluation) data is."""
        if given_path(config, training) or lookup(config, self.root_key):
            return True
        return self.is_located_elsewhere is not None and self.is_located_elsewhere(config)


def split_name(training: bool) -> str:
    """The name of a split in keys and messages: train or val."""
    return "train" if training else "val"


def given_path(config: Config, training: bool) -> str:
    """`train_dataset` or `val_dataset`; empty: the format's `root_key` says where the data is."""
    return config.train_dataset if training else config.val_dataset


def annotation_path(config: Config, training: bool) -> Path:
    """`train_dataset` or `val_dataset`, or else `anno_path`, for formats that have this `root_key`."""
    return Path(given_path(config, training) or config.anno_path)


def training_subset(config: Config, training: bool) -> tuple[int, int]:
    """Which images to use, as (the first so many, then every so many-th); 0: all. Evaluation uses all."""
    return (config.train_dataset_num, config.train_dataset_divider) if training else (0, 0)
