"""Divide a data set: the work of split_dataset.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from src.commands.convert_dataset import report, require_empty
from src.common.errors import UserError
from src.data.formats.table import format_of
from src.data.splitting import split_by_class, split_by_folder, split_by_list
from src.data.writers.api import ImagePlacer, Placing, WrittenSplit, split_of
from src.data.writers.table import WRITERS
from src.schema import Config

WAYS = {"class": split_by_class, "folder": split_by_folder}


def split_dataset(
    config: Config,
    target: str,
    output_dir: str | Path,
    by: str = "class",
    fraction: float = 0.2,
    seed: int = 1,
    val_list: str = "",
    placing: Placing = "link",
    overwrite: bool = False,
) -> dict[str, Path]:
    """Divide the training data of a configuration, and write both parts.

    Args:
        config: of the data, see `data_config`.
        target: a name in `WRITERS`.
        output_dir: for the data set; made if needed.
        by: class or folder, see `WAYS`; not asked for with a `val_list`.
        fraction: share of the images to evaluate on.
        seed: of what is random.
        val_list: text file that lists the evaluation images, see `split_by_list`; empty: they are drawn.
        placing: see `ImagePlacer`.
        overwrite: see `convert_dataset`.

    Returns:
        What to give as train_dataset and val_dataset: {"train": path, "val": path}.

    Raises:
        UserError: data that cannot be read, or that does not divide.
    """
    require_empty(Path(output_dir), overwrite)
    whole = split_of(format_of(config).open_split(config, True, False), "train")
    if val_list:
        chosen = split_by_list(whole.images, Path(val_list))
    else:
        chosen = WAYS[by](whole.images, len(whole.class_names), fraction, seed)
    if not 0 < np.count_nonzero(chosen) < len(chosen):
        raise UserError(
            f"{config.train_dataset}: {np.count_nonzero(chosen)} of {len(chosen)} images would be for evaluation; each "
            "part needs some"
        )
    parts = [_part(whole, "train", ~chosen), replace(_part(whole, "val", chosen), problems=[])]
    placer = ImagePlacer(placing)
    written = {part.name: WRITERS[target](part, Path(output_dir), placer) for part in parts}
    for part in parts:
        report(part, target)
    print(_table(parts))
    return written


def _part(whole: WrittenSplit, name: str, keep: np.ndarray) -> WrittenSplit:
    return replace(whole, name=name, images=[whole.images[index] for index in np.flatnonzero(keep).tolist()])


def _table(parts: list[WrittenSplit]) -> str:
    """Objects of each class in the parts."""
    names = parts[0].class_names
    counts = [np.bincount([o.label for i in part.images for o in i.objects], minlength=len(names)) for part in parts]
    width = max(map(len, names))
    lines = [f" {'class':<{width}}  {'train':>8}  {'val':>8}  share of val"]
    for label, name in enumerate(names):
        train, val = (int(count[label]) for count in counts)
        lines.append(f" {name:<{width}}  {train:>8}  {val:>8}  {val / max(train + val, 1):>12.1%}")
    return "\n".join(lines)
