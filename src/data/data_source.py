"""The data of a configuration: MindRecord files where `mindrecord_dir` is set, else images and annotations."""

from pathlib import Path
from typing import TYPE_CHECKING

from src.common.errors import UserError
from src.common.once_per_machine import once_per_machine
from src.data.coco import CocoDataset
from src.data.datasets import open_dataset, require_source
from src.data.listed_dataset import ListedDataset
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.dataset import MindRecordDataset, open_manifest
from src.data.mindrecord.manifest import manifest_path

if TYPE_CHECKING:
    from src.schema import Config

Dataset = CocoDataset | ListedDataset | MindRecordDataset


def open_data(config: "Config", training: bool, with_masks: bool = False) -> Dataset:
    """The training or the evaluation data, the training's with `train_dataset_num` and `train_dataset_divider` applied.

    Raises:
        UserError: see `MindRecordDataset` and `open_dataset`.
    """
    name = _mindrecord_name(config, training)
    if not name:
        return open_dataset(config, training, with_masks)
    limits = {"first": config.train_dataset_num, "every": config.train_dataset_divider} if training else {}
    return MindRecordDataset(
        config.mindrecord_dir,
        name,
        config.class_names,
        with_masks,
        keep_difficult=config.keep_difficult or not training,
        thorough=config.mindrecord_verify,
        **limits,
    )


def require_data(config: "Config", training: bool) -> None:
    """Raise a UserError, before anything takes long, unless `open_data` has something to open that fits.

    Of MindRecord files all is checked but the annotations and images inside, which have check sums of their own. Those
    that are not there yet are made from the images and annotations, by one process of a machine for all.
    """
    name = _mindrecord_name(config, training)
    if not name:
        require_source(config, training)
        return
    path = manifest_path(config.mindrecord_dir, name)
    if not path.exists():
        _make(config, training, path, name)
    open_manifest(path, config.class_names, config.mask_options is not None)


def _make(config: "Config", training: bool, manifest: Path, name: str) -> None:
    print(f"{manifest} does not exist: making {name} from the images and annotations", flush=True)
    try:
        require_source(config, training)
        with once_per_machine(manifest.with_name(f".{name}"), str(manifest), lambda: _create(config, training)):
            pass
    except UserError as error:
        key = "prefix" if training else "eval_prefix"
        raise UserError(
            f"no complete data set {name} in mindrecord_dir {config.mindrecord_dir}, and none can be made: {error} "
            f"(--{key} '' takes the images as they are)"
        ) from None


def _create(config: "Config", training: bool) -> None:
    create_mindrecord(config, training=training)


def _mindrecord_name(config: "Config", training: bool) -> str:
    """Prefix of the files; '' for images as they are."""
    return (config.prefix if training else config.eval_prefix) if config.mindrecord_dir else ""
