"""Runs a program on Huawei's ModelArts, where data lies in OBS, an object store that the package moxing copies from.

Only with `enable_modelarts` (RefineDet's README: `run_online`) does anything happen.
"""

import glob
import logging
import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

from src.common.errors import UserError
from src.common.once_per_machine import once_per_machine
from src.model_utils.local_adapter import is_scheduler, launched_as
from src.schema import Config

logger = logging.getLogger(__name__)

# RuntimeError: it wants a password, or is packed in a way that Python does not know; the others are of broken contents.
BROKEN_ARCHIVE = (
    zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, OverflowError, KeyError, struct.error, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
MOST_EXPANSION = 100
HARMLESS_BYTES = 2**30

DATA_KEYS = (
    "train_dataset", "val_dataset", "mindrecord_dir", "coco_root", "instance_set", "voc_root", "image_dir", "anno_path",
    "pred_input",
)  # fmt: skip
OUTPUT_KEYS = ("train_outputs", "save_checkpoint_path", "prediction_path", "report", "pred_output", "file_name")


@contextmanager
def on_modelarts(config: Config) -> Iterator[None]:
    """Run a block with data from OBS, and send what it wrote to OBS, even when it fails or is stopped.

    Before the block, `data_url` is copied to `data_path` and `checkpoint_url` to `load_path`, by one process of each
    machine; the others wait. Archives of the data are unpacked (`unpack_archives`). Relative paths of what the program
    writes are taken in `output_path`, which the process of rank 0 copies to `train_url` afterwards. Where no path of
    the configuration lies in `data_path`, that folder becomes the root of the data set.

    Args:
        config: checked configuration; its paths are changed. Without `enable_modelarts` nothing is done.

    Raises:
        UserError: moxing is missing; something cannot be copied or unpacked.
    """
    if not config.enable_modelarts or is_scheduler():
        yield
        return
    mox = _moxing()
    with ExitStack() as stack:
        if config.data_url:
            stack.enter_context(
                _downloaded(mox, config.data_url, config.data_path, prepare=lambda: unpack_archives(config))
            )
            _find_data(config)
        if config.checkpoint_url:
            stack.enter_context(_downloaded(mox, config.checkpoint_url, config.load_path))
        _collect_outputs(config)
        uploads = (launched_as() or (config.rank_id,))[0] == 0
        try:
            yield
        except BaseException:
            if uploads:
                try:
                    _upload(mox, config.output_path, config.train_url)
                except UserError as error:  # beside what ended the program
                    logger.error(str(error))
            raise
        if uploads:
            _upload(mox, config.output_path, config.train_url)


def result_path(config: Config, path: Path) -> Path:
    """Where a result goes that belongs to an input: `path`, but on ModelArts in `output_path`, which is sent to OBS."""
    output = Path(config.output_path)
    return output / path.name if config.enable_modelarts and output not in path.parents else path


def _moxing() -> ModuleType:
    try:
        import moxing
    except ImportError:
        raise UserError(
            "enable_modelarts: the package moxing is not here; only ModelArts has it, elsewhere leave this key out"
        ) from None
    return moxing


@contextmanager
def _downloaded(mox: ModuleType, url: str, folder: str, prepare: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within the block `folder` holds what `url` has, after `prepare` was called."""

    def download() -> None:
        logger.info(f"copying {url} to {folder}")
        try:
            mox.file.copy_parallel(url, folder)
        except Exception as error:  # moxing's own are not documented
            raise UserError(f"{url} cannot be copied to {folder} ({_in_one_line(error)})") from None
        prepare()

    with once_per_machine(Path(folder), url, download):
        yield


def unpack_archives(config: Config) -> None:
    """Unpack NAME.zip in `data_path`, NAME being `modelarts_dataset_unzip_name`.

    Without that key (the published commands for evaluation set none): every folder NAME in which a path of the
    configuration lies and that OBS has as an archive only.

    Raises:
        UserError: see `unpack`.
    """
    root = Path(config.data_path)
    if config.modelarts_dataset_unzip_name:
        unpack(root, config.modelarts_dataset_unzip_name)
        return
    for name in sorted({parts[0] for parts in _paths_in_data(config).values()}):
        ours = root / f".{name}.unpacked"  # an earlier run on this machine left the folder: it may be outdated
        if (root / f"{name}.zip").is_file() and (ours.exists() or not (root / name).exists()):
            unpack(root, name)
            ours.touch()


def _paths_in_data(config: Config) -> dict[str, tuple[str, ...]]:
    """{key: parts below `data_path`} of the configuration's paths in that folder."""
    root = Path(config.data_path)
    paths = {key: Path(getattr(config, key)) for key in DATA_KEYS}
    return {key: path.relative_to(root).parts for key, path in paths.items() if root in path.parents}


def unpack(folder: Path, name: str) -> None:
    """Unpack folder/name.zip to folder/name; an archive may hold that folder or only what belongs in it.

    Raises:
        UserError: the archive is missing, damaged, or too large once it is unpacked, or its name is a path; folder/name
            is then as it was.
    """
    if Path(name).name != name or name == ".." or "\0" in name:
        raise UserError(f"modelarts_dataset_unzip_name: {name!r} is not the name of an archive in {folder}")
    archive, target, partial = folder / f"{name}.zip", folder / name, folder / f".{name}.partial"
    if not archive.is_file():
        raise UserError(f"modelarts_dataset_unzip_name: {archive} does not exist")
    logger.info(f"unpacking {archive}")
    if target.is_symlink() or partial.is_symlink():
        raise UserError(f"{target if target.is_symlink() else partial}: is a symbolic link; remove it")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        with zipfile.ZipFile(archive) as opened:
            _check_unpacked_size(archive, opened)
            opened.extractall(partial)
        inner = partial / name
        source = inner if inner.is_dir() and len(list(partial.iterdir())) == 1 else partial
        shutil.rmtree(target, ignore_errors=True)
        source.replace(target)
    except BROKEN_ARCHIVE as error:
        raise UserError(f"{archive} cannot be unpacked ({_in_one_line(error)})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_unpacked_size(archive: Path, opened: zipfile.ZipFile) -> None:
    """Raise a UserError where the disk is too small, or the archive is far smaller than images make it."""
    size, packed = sum(entry.file_size for entry in opened.infolist()), archive.stat().st_size
    free = shutil.disk_usage(archive.parent).free
    if size > free:
        raise UserError(f"{archive} cannot be unpacked: {size / 1e6:,.1f} MB are needed, {free / 1e6:,.1f} MB are free")
    if size > max(MOST_EXPANSION * packed, HARMLESS_BYTES):
        raise UserError(
            f"{archive} cannot be unpacked: its {packed / 1e6:,.1f} MB would become {size / 1e6:,.1f} MB, over "
            f"{MOST_EXPANSION} times as much; images and annotations do not"
        )


def _find_data(config: Config) -> None:
    """Make the downloaded folder the root of the data set, unless a path of the configuration lies in it."""
    root = Path(config.data_path)
    inside = _paths_in_data(config)
    if inside or any(root == Path(getattr(config, key)) for key in DATA_KEYS):
        _find_beside_archives(config, inside)
        return
    config.train_dataset = config.val_dataset = ""
    if not Path(config.mindrecord_dir).is_dir():
        config.mindrecord_dir = ""
    changed = {"coco": "coco_root", "voc": "voc_root", "other": "image_dir"}.get(config.dataset, "anno_path")
    if config.dataset not in ("coco", "voc"):
        config.anno_path = str(root / config.anno_path)
    if changed != "anno_path":
        setattr(config, changed, str(root))
    logger.info(f"{changed}: {root}, since no path of the configuration lies in data_path")


def _find_beside_archives(config: Config, inside: dict[str, tuple[str, ...]]) -> None:
    """Take what lies beside NAME.zip for what is expected in NAME, where the archive does not have it.

    The published layout has `annotations` beside the archive, the published command looks for them inside.
    """
    root = Path(config.data_path)
    for key, (name, *rest) in inside.items():
        expected, beside = root.joinpath(name, *rest), root.joinpath(*rest)
        if rest and (root / f"{name}.zip").is_file() and not _exists(expected) and _exists(beside):
            logger.info(f"{key}: {beside}, since {name}.zip does not have it")
            setattr(config, key, str(beside))


def _exists(path: Path) -> bool:
    """Whether a path exists; {} in its name stands for anything."""
    return any(path.parent.glob(glob.escape(path.name).replace("{}", "*")))


def _collect_outputs(config: Config) -> None:
    for name in OUTPUT_KEYS:
        if value := getattr(config, name):
            setattr(config, name, str(Path(config.output_path) / value))


def _upload(mox: ModuleType, folder: str, url: str) -> None:
    if not Path(folder).is_dir():
        return
    if not url:
        logger.warning(f"train_url is not set, so the results stay in {folder}")
        return
    logger.info(f"copying {folder} to {url}")
    try:
        mox.file.copy_parallel(folder, url)
    except Exception as error:
        raise UserError(
            f"{folder} cannot be copied to {url} ({_in_one_line(error)}); the results are still in {folder}"
        ) from None


def _in_one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]
