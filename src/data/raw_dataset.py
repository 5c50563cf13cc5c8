"""Open the data set that the configuration names, from its images and annotations as they are."""

from src.common.errors import UserError
from src.data.detection_dataset import DetectionDataset
from src.data.formats.api import split_name
from src.data.formats.table import format_of
from src.schema import Config


def open_raw_dataset(config: Config, training: bool, with_masks: bool = False) -> DetectionDataset:
    """The training or the evaluation data set of a configuration, from its images and annotations.

    Args:
        config: `dataset` says how annotations are written, `train_dataset`, `val_dataset` and the published keys where.
        training: the training data, `train_dataset_num` and `train_dataset_divider` applied; else the evaluation data.
        with_masks: keep the masks; not all formats have them.

    Raises:
        UserError: no path is given, no masks, or see the format's reader.
    """
    require_location(config, training)
    chosen = format_of(config)
    if with_masks and not chosen.has_masks:
        raise UserError(
            f"{config.config_path}: dataset is '{config.dataset}', whose annotations have no masks; {config.detector} "
            "learns from masks: give COCO annotations, or others that have them, or train a detector of boxes"
        )
    return chosen.open_split(config, training, with_masks)


def require_location(config: Config, training: bool) -> None:
    """Raise a UserError unless the configuration says where the training (or evaluation) data is."""
    chosen = format_of(config)
    if not chosen.is_located(config, training):
        key = f"{split_name(training)}_dataset"
        raise UserError(
            f"--{key} is missing in {config.config_path or 'the configuration'}, and so is {chosen.root_key}: "
            f"{type(config).model_fields[key].description} (dataset is '{config.dataset}')"
        )
