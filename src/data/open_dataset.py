"""The data of a configuration: MindRecord files where `mindrecord_dir` is set, else images and annotations."""

import logging
from pathlib import Path

from src.common.errors import UserError
from src.common.once_per_machine import once_per_machine, remove_traces
from src.data.detection_dataset import DetectionDataset
from src.data.formats.api import training_subset
from src.data.formats.table import format_of
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.dataset import MindRecordDataset, open_manifest
from src.data.mindrecord.manifest import manifest_path
from src.data.mindrecord.same_annotations import refuse_other_annotations
from src.data.raw_dataset import open_raw_dataset, require_location
from src.schema import Config

logger = logging.getLogger(__name__)


def open_dataset(config: Config, training: bool, with_masks: bool = False) -> DetectionDataset:
    """The training or the evaluation data, the training's with `train_dataset_num` and `train_dataset_divider` applied.

    Raises:
        UserError: see `MindRecordDataset` and `open_raw_dataset`; MindRecord files to evaluate on that hold other
            annotations than the file that the configuration names.
    """
    name = _mindrecord_name(config, training)
    if not name:
        return open_raw_dataset(config, training, with_masks)
    first, every = training_subset(config, training)
    dataset = MindRecordDataset(
        config.mindrecord_dir,
        name,
        config.class_names,
        with_masks,
        first=first,
        every=every,
        keep_difficult=config.keep_difficult or not training,
        thorough=config.mindrecord_verify,
    )
    if not training and (named := format_of(config).named_annotations(config, training)):
        refuse_other_annotations(named, dataset)
    return dataset


def check_or_pack_dataset(config: Config, training: bool) -> None:
    """Raise a UserError, before anything takes long, unless `open_dataset` has something to open that fits.

    Of MindRecord files, everything is checked except the annotations and images inside, which have checksums of their
    own. Files that do not exist yet are packed from the images and annotations, by one process per machine for all.
    """
    name = _mindrecord_name(config, training)
    if not name:
        require_location(config, training)
        return
    path = manifest_path(config.mindrecord_dir, name)
    if not path.exists():
        _pack(config, training, path, name)
    elif not training:
        format_of(config).named_annotations(config, training)
    remove_traces(_packing_place(path))
    open_manifest(path, config.class_names, config.mask_options is not None)


def _pack(config: Config, training: bool, manifest: Path, name: str) -> None:
    logger.info(f"{manifest} does not exist: making {name} from the images and annotations")

    def create() -> None:
        if not manifest.exists():  # else another process has made it while this one waited for its turn
            create_mindrecord(config, training=training)

    try:
        require_location(config, training)
        with once_per_machine(_packing_place(manifest), str(manifest), create):
            pass
    except UserError as error:
        key = "prefix" if training else "eval_prefix"
        raise UserError(
            f"no complete data set {name} in mindrecord_dir {config.mindrecord_dir}, and none can be made: {error} "
            f"(--{key} '' takes the images as they are)"
        ) from None


def _packing_place(manifest: Path) -> Path:
    """What the processes that would make a data set agree about; hidden files beside it say who is at it."""
    return manifest.with_name(f".{manifest.stem}")


def _mindrecord_name(config: Config, training: bool) -> str:
    """Prefix of the files; '' for images as they are."""
    return (config.prefix if training else config.eval_prefix) if config.mindrecord_dir else ""
