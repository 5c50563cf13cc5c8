"""Make a data set of MindRecord files: the work of create_data.py."""

import logging
import shutil
from collections import Counter
from pathlib import Path

from src.common.errors import UserError
from src.data.formats.table import FORMATS
from src.data.image import ImageRules
from src.data.mindrecord.manifest import LeftOut, Manifest, StoredFile, check_files, manifest_path, read_manifest
from src.data.mindrecord.publishing import PartialFolder
from src.data.mindrecord.rows import Row, rows_sha256
from src.data.mindrecord.source import Source, read_source
from src.data.mindrecord.storing import read_back, store_images
from src.schema import Config, require

logger = logging.getLogger(__name__)

SHOWN = 20  # most lines of a kind that are printed; the manifest has all


def create_mindrecord(
    config: Config,
    dataset: str = "",
    name: str = "",
    training: bool = True,
    shards: int = 0,
    overwrite: bool = False,
) -> Path:
    """Store the training or the evaluation data of a configuration in MindRecord files in `mindrecord_dir`.

    Every image is decoded once, as a training would; those that cannot be are reported and left out. All that was
    written is read back before any of it takes its place, and the manifest comes last.

    Args:
        config: paths of the data, `coco_classes`, `mindrecord_dir`, `num_parallel_workers`.
        dataset: a name in `FORMATS`; empty: the configuration's `dataset`.
        name: prefix of the files; empty: `prefix`, or `eval_prefix` for evaluation data.
        training: which data.
        shards: number of files; 0: one per GiB.
        overwrite: replace a data set that is there already.

    Returns:
        Path of the manifest.

    Raises:
        UserError: see `open_raw_dataset`; a data set that is there and was made from something else; a folder that
            cannot be written or is too small; not one readable image.
    """
    require(config, "mindrecord_dir")
    name = name or (config.prefix if training else config.eval_prefix)
    if not name or Path(name).name != name:
        raise UserError(f"--prefix '{name}': must be the beginning of file names, such as retinanet.mindrecord")
    if dataset not in ("", *FORMATS):
        raise UserError(f"--create_dataset {dataset}: must be {', '.join(FORMATS)}")
    source = read_source(config.model_copy(update={"dataset": dataset or config.dataset}), training)
    for problem in source.problems[:SHOWN]:
        logger.warning(problem)
    folder = Path(config.mindrecord_dir)
    if not overwrite and manifest_path(folder, name).exists():
        return _keep(manifest_path(folder, name), source)
    workers = config.num_parallel_workers
    with PartialFolder(folder, name) as partial:
        _check_space(folder, source)
        rows, left_out = store_images(
            partial.path, name, source, shards, workers, config.progress_bar, ImageRules.of(config)
        )
        files = read_back(partial.path, rows, workers, config.progress_bar)
        manifest = _manifest(source, rows, left_out, files)
        path = partial.publish(manifest)
    _report(path, manifest)
    return path


def _keep(path: Path, source: Source) -> Path:
    """The data set that is there, if it was made from the same; raises UserError otherwise."""
    manifest = read_manifest(path)
    if manifest.source_sha256 != source.sha256():
        raise UserError(
            f"{path} is there: {manifest.images} images of {manifest.source}, which is not what {source.name} is now; "
            "--overwrite 1 replaces it, another --prefix keeps both"
        )
    check_files(path, manifest)
    logger.info(f"{path}: already there, complete, and made from the same; --overwrite 1 creates it again")
    return path


def _check_space(folder: Path, source: Source) -> None:
    needed = sum(image.size + len(image.annotations) for image in source.images)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free (a data set that is "
            "replaced goes only when the new one is complete); make room, or set mindrecord_dir to another disk"
        )


def _manifest(source: Source, rows: list[Row], left_out: list[LeftOut], files: list[StoredFile]) -> Manifest:
    stored = {row.position for row in rows}
    counts = Counter(i for image in source.images if image.position in stored for i in image.category_ids)
    return Manifest(
        dataset=source.dataset,
        split=source.split,
        source=source.name,
        source_sha256=source.sha256(),
        category_ids=source.category_ids,
        with_masks=source.with_masks,
        voc_metrics=source.voc_metrics,
        images=len(rows),
        objects=counts.total(),
        objects_per_class={name: counts[i] for name, i in source.category_ids.items()},
        rows_sha256=rows_sha256(rows),
        files=files,
        left_out=left_out,
    )


def _report(path: Path, manifest: Manifest) -> None:
    for one in manifest.left_out[:SHOWN]:
        logger.warning(f"{one.reason}; left out")
    if len(manifest.left_out) > SHOWN:
        logger.warning(f"{len(manifest.left_out)} images are left out; {path} lists them")
    gigabytes = sum(file.size for file in manifest.files) / 1e9
    logger.info(
        f"{path}: {manifest.images} images ({len(manifest.left_out)} left out), {manifest.objects} objects of "
        f"{len(manifest.category_ids)} classes, {'with' if manifest.with_masks else 'without'} masks, "
        f"{len(manifest.shards)} files, {gigabytes:.3f} GB",
    )
