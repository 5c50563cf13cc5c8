"""Open data sets that programs are given by a folder or a path, without a configuration."""

import argparse
import logging
from pathlib import Path

from src.common.errors import UserError
from src.config.classes import fill_classes
from src.data.detection_dataset import DetectionDataset
from src.data.formats.api import split_name
from src.data.formats.table import FORMATS, format_at, format_of
from src.schema import Config

logger = logging.getLogger(__name__)


def add_data_arguments(parser: argparse.ArgumentParser, alone: str = "") -> None:
    """The arguments that name a data set: `--from`, `--data`, `--image_dir` and `--classes`.

    Args:
        parser: gets them.
        alone: the option for one set of data, which then must be given; empty: evaluation data may be named apart, by
            `--train_dataset` and `--val_dataset`.
    """
    parser.add_argument(
        "--from", dest="source", choices=("auto", *FORMATS), default="auto", help="auto: what the folder looks like"
    )
    if alone:
        parser.add_argument(alone, required=True, help="folder or file of the data set")
    else:
        parser.add_argument("--data", default="", help="folder with training and evaluation data, or file")
        parser.add_argument("--train_dataset", default="", help="training data, in place of --data")
        parser.add_argument("--val_dataset", default="", help="evaluation data, in place of --data")
    parser.add_argument("--image_dir", default="", help="folder of the images; default: as the annotations say")
    parser.add_argument("--classes", default="", help="class names, comma-separated; default: those of the data")


def check_data_arguments(args: argparse.Namespace) -> None:
    """Raise a UserError unless `args` name training data."""
    if not (args.train_dataset or args.data):
        raise UserError("--data is missing; give the folder of the data set, or --train_dataset")


def data_of_arguments(args: argparse.Namespace) -> Config:
    """The configuration that `args` of `add_data_arguments`, with both parts, stand for; see `data_config`."""
    train = args.train_dataset or args.data
    return data_config(args.source, train, args.val_dataset, args.image_dir, args.classes)


def data_config(dataset: str, train: str, val: str = "", image_dir: str = "", classes: str = "") -> Config:
    """A configuration of data alone.

    Args:
        dataset: a name in `FORMATS`; auto: what the folder `train` looks like.
        train: the value of `train_dataset`.
        val: the value of `val_dataset`.
        image_dir: the value of that key.
        classes: names of the foreground classes, comma-separated; empty: those of the training data.

    Raises:
        UserError: an unknown format, or training data that does not name its classes.
    """
    name = format_at(train) if dataset == "auto" else dataset
    if name not in FORMATS:
        raise UserError(f"the format is {name!r}; known are {', '.join(FORMATS)}")
    config = Config(dataset=name, train_dataset=train, val_dataset=val, image_dir=image_dir)
    names = _listed(classes)
    config.coco_classes = ["background", *names] if names else []
    fill_classes(config)
    return config


def evaluation_data(dataset: str, path: str, image_dir: str = "", classes: str = "") -> DetectionDataset:
    """The evaluation data at a path.

    Args:
        dataset: a name in `FORMATS`; auto: what the folder looks like, and COCO for a JSON file.
        path: folder or file, as `val_dataset` takes it.
        image_dir: the value of that key.
        classes: names of the foreground classes, comma-separated; empty: those of the data.

    Raises:
        UserError: data that cannot be found or read, or that does not name its classes.
    """
    if dataset == "auto":
        dataset = "coco" if Path(path).suffix == ".json" else format_at(path)
    config = Config(dataset=dataset, train_dataset=path, val_dataset=path, image_dir=image_dir)
    chosen, names = FORMATS[dataset], _listed(classes)
    if not names and chosen.class_names is None:
        raise UserError(f"{path}: such data does not name its classes; give --classes")
    if not names and chosen.class_names is not None:
        names = chosen.class_names(config, False)
    config.coco_classes = ["background", *names]
    return chosen.open_split(config, False, False)


def _listed(classes: str) -> list[str]:
    return [one.strip() for one in classes.split(",") if one.strip()]


def open_both(config: Config) -> dict[str, DetectionDataset]:
    """The training data, and the evaluation data where it is named: {"train": ..., "val": ...}.

    Raises:
        UserError: data that is named and cannot be read.
    """
    sides = (True, False) if config.val_dataset else (True,)
    return {split_name(training): format_of(config).open_split(config, training, False) for training in sides}


def evaluation_path(config: Config, data: str) -> str:
    """The folder `data` again, where it has evaluation data beside the training data; else empty.

    Args:
        config: of the training data, which was found in `data`.
        data: what the user gave for both; empty: nothing.
    """
    if not data:
        return ""
    both = config.model_copy(update={"val_dataset": data})
    chosen = format_of(config)
    train = chosen.open_split(config, True, False)
    try:
        if chosen.class_names is not None:  # another class is reported where the data is used
            both.coco_classes = ["background", *chosen.class_names(both, False)]
        val = chosen.open_split(both, False, False)
    except UserError as error:
        logger.info(f"no evaluation data: {error}")
        return ""
    if {record.name for record in val.records} == {record.name for record in train.records}:
        logger.info(f"{data}: one set of images, no separate evaluation data")
        return ""
    return data
