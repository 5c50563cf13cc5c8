"""The classes of a configuration that does not name them: those of its training data."""

import logging

from src.common.errors import UserError
from src.common.text import shortened
from src.data.formats.table import FORMATS, format_of
from src.data.mindrecord.manifest import manifest_path, read_manifest
from src.schema import Config

MOST_SHOWN = 20

logger = logging.getLogger(__name__)


def fill_classes(config: Config) -> None:
    """Set `coco_classes` where it is empty, and `num_classes` where it was not given.

    Names always come from the training data, in evaluation too, so that a label means the same in both.

    Raises:
        UserError: the training data does not say its classes, or cannot be read.
    """
    if not config.coco_classes and config.dataset in FORMATS:
        names = _names_of_training_data(config)
        config.coco_classes = ["background", *names]
    if "num_classes" not in config.model_fields_set:
        config.num_classes = len(config.coco_classes)


def _names_of_training_data(config: Config) -> list[str]:
    packed = manifest_path(config.mindrecord_dir, config.prefix)
    if config.mindrecord_dir and config.prefix and packed.is_file():
        names, origin = list(read_manifest(packed).category_ids), str(packed)
    else:
        names, origin = _names_of_annotations(config)
    shown = ", ".join(shortened(name) for name in names[:MOST_SHOWN]) + (", ..." if len(names) > MOST_SHOWN else "")
    logger.info(f"coco_classes: {len(names)} classes of {origin}: {shown}")
    return names


def _names_of_annotations(config: Config) -> tuple[list[str], str]:
    """The names, and the data that has them."""
    chosen, where = format_of(config), config.config_path or "the configuration"
    if chosen.class_names is None:
        raise UserError(
            f"{where}: coco_classes is empty, and annotations of dataset '{config.dataset}' do not name classes; list "
            "them, 'background' first"
        )
    if not chosen.is_located(config, training=True):
        raise UserError(
            f"{where}: coco_classes is empty, so that the classes are those of the training data, and --train_dataset "
            "is missing; give one of them"
        )
    names = chosen.class_names(config, True)
    if not names:
        raise UserError(f"{where}: coco_classes is empty, and the training data has no object; list the classes")
    return names, config.train_dataset or f"the {config.dataset} data"
