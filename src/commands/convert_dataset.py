"""Rewrite a data set in another format: the work of convert_dataset.py."""

import logging
from pathlib import Path

from src.commands.open_data import open_both
from src.common.errors import UserError
from src.data.writers.api import ImagePlacer, Placing, WrittenSplit, split_of
from src.data.writers.table import WRITERS
from src.schema import Config

MOST_PROBLEMS = 20  # shown

logger = logging.getLogger(__name__)


def convert_dataset(
    config: Config, target: str, output_dir: str | Path, placing: Placing = "link", overwrite: bool = False
) -> dict[str, Path]:
    """Write the data of a configuration in another format.

    Args:
        config: of the data, see `data_config`.
        target: a name in `WRITERS`.
        output_dir: for the data set; made if needed.
        placing: how images get there, see `ImagePlacer`.
        overwrite: write into a folder that holds something; what is not written again stays.

    Returns:
        What to give as train_dataset and val_dataset: {"train": path, "val": path}.

    Raises:
        UserError: data that cannot be read, or a folder that holds something.
    """
    folder = Path(output_dir)
    require_empty(folder, overwrite)
    splits = [split_of(dataset, name) for name, dataset in open_both(config).items()]
    placer = ImagePlacer(placing)
    written = {split.name: WRITERS[target](split, folder, placer) for split in splits}
    for split in splits:
        report(split, target)
    return written


def require_empty(folder: Path, overwrite: bool) -> None:
    """Raise a UserError where a folder to write holds something, unless that may be written over."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not overwrite):
        raise UserError(
            f"{folder}: is not an empty folder; give another --output_dir, or --overwrite 1 to write into it"
        )


def report(split: WrittenSplit, target: str) -> None:
    """Say what was written, and what was left out."""
    objects = [one for image in split.images for one in image.objects]
    if target != "voc" and (difficult := sum(one.difficult for one in objects)):
        split.problems.append(f"{difficult} objects marked difficult are trained on like any other in this format")
    for line in split.problems[:MOST_PROBLEMS]:
        logger.warning(line)
    if len(split.problems) > MOST_PROBLEMS:
        logger.warning(f"... and {len(split.problems) - MOST_PROBLEMS} more")
    logger.info(f"{split.name}: {len(split.images)} images, {len(objects)} objects, {len(split.class_names)} classes")
