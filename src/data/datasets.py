"""Open the data set that the configuration names: COCO annotations, Pascal VOC folders or a TXT list."""

from pathlib import Path
from typing import TYPE_CHECKING

from src.common.errors import UserError
from src.data.coco import CocoDataset
from src.data.listed_dataset import ListedDataset
from src.data.txt_list import TxtDataset
from src.data.voc import VocDataset

if TYPE_CHECKING:
    from src.schema import Config

_ROOT_KEYS = {"coco": "coco_root", "voc": "voc_root", "other": "anno_path"}


def open_dataset(config: "Config", training: bool, with_masks: bool = False) -> CocoDataset | ListedDataset:
    """The training or the evaluation data set of a configuration, from its images and annotations.

    Args:
        config: `dataset` says how annotations are written, `train_dataset`, `val_dataset` and the seeds' keys where.
        training: the training data, `train_dataset_num` and `train_dataset_divider` applied; else the evaluation data.
        with_masks: keep the masks; only COCO annotations have them.

    Raises:
        UserError: no path is given, or see `CocoDataset`, `VocDataset`, `TxtDataset`.
    """
    require_source(config, training)
    split, given = _split_and_path(config, training)
    limits = {"first": config.train_dataset_num, "every": config.train_dataset_divider} if training else {}
    if config.dataset == "coco":
        path = given or _in_coco_root(config, training)
        return CocoDataset(path, config.class_names, split, with_masks=with_masks, **limits)
    if with_masks:
        raise UserError(
            f"{config.config_path}: dataset is '{config.dataset}', whose annotations have no masks; {config.detector} "
            "learns from masks: give COCO annotations, or train a detector of boxes"
        )
    limits["category_ids"] = config.category_ids
    if config.dataset == "voc":
        sets = config.voc_train_sets if training else config.voc_val_sets
        keep_difficult = config.keep_difficult or not training
        return VocDataset(given or config.voc_root, config.class_names, split, sets, keep_difficult, **limits)
    dataset = TxtDataset(given or config.anno_path, config.class_names, config.image_dir, **limits)
    if not training and not given and config.train_dataset in ("", config.anno_path):
        dataset.problems.append(f"{dataset.annotation_file}: evaluated, and trained on too where val_dataset is empty")
    return dataset


def require_source(config: "Config", training: bool) -> None:
    """Raise a UserError unless the configuration says where the training (or evaluation) data is."""
    split, given = _split_and_path(config, training)
    root = _ROOT_KEYS[config.dataset]
    absolute_set = config.dataset == "coco" and Path(config.instance_set).is_absolute()
    if not (given or getattr(config, root) or absolute_set):
        key = f"{split}_dataset"
        raise UserError(
            f"--{key} is missing in {config.config_path or 'the configuration'}, and so is {root}: "
            f"{type(config).model_fields[key].description} (dataset is '{config.dataset}')"
        )


def _split_and_path(config: "Config", training: bool) -> tuple[str, str]:
    return ("train", config.train_dataset) if training else ("val", config.val_dataset)


def _in_coco_root(config: "Config", training: bool) -> Path:
    """The annotation file in coco_root, or coco_root itself where it has another layout."""
    root = Path(config.coco_root)
    data_type = config.train_data_type if training else config.val_data_type
    if config.instance_set:
        path = root / config.instance_set.replace("{}", data_type)
        if not path.is_file():
            raise UserError(
                f"instance_set: {path} does not exist; give the annotation file, {{}} stands for {data_type}"
            )
        return path
    names = [root / "annotations" / f"{prefix}_{data_type}.json" for prefix in ("instances", "instance")]
    return next((path for path in names if path.is_file()), root)
