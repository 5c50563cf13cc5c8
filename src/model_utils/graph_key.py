"""What compiled graphs depend on beside the cells they are compiled from."""

import hashlib
import os
import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from src.schema import Config

PACKAGE = Path(__file__).parents[1]
SOURCES = (".py", ".cc", ".cu", ".h")
VARIABLES = ("MS_DEV_", "MS_ENABLE_", "MS_JIT", "ONEDNN_", "CUSTOM_CONV")
# Keys that say where things are, how they are read, how long is trained and what is told: no graph depends on them.
# A key that is not named here is taken to matter.
# fmt: off
OUTSIDE_GRAPHS = frozenset((
    "train_outputs", "brief", "compile_cache", "epoch_size", "run_eval", "eval_every", "patience", "finetune",
    "pre_trained", "pre_trained_epoch_size", "global_step", "resume", "log_every", "log_format", "progress_bar",
    "mlflow", "tensorboard", "skip_broken", "max_image_pixels", "strict_images", "device_id", "rank_id",
    "num_parallel_workers", "python_multiprocessing", "dataset", "train_dataset", "val_dataset", "coco_root",
    "train_data_type", "val_data_type", "instance_set", "voc_root", "voc_train_sets", "voc_val_sets",
    "keep_difficult", "image_dir", "anno_path", "mindrecord_dir", "prefix", "eval_prefix", "mindrecord_verify",
    "category_ids", "train_dataset_num", "train_dataset_divider", "save_every", "save_checkpoint_epochs",
    "save_checkpoint_path", "checkpoint_name", "keep_checkpoint_max", "keep_best_checkpoints_max",
    "checkpoint_path", "prediction_path", "report", "pred_input", "pred_output", "file_name", "enable_modelarts",
    "data_url", "train_url", "checkpoint_url", "data_path", "output_path", "load_path",
    "modelarts_dataset_unzip_name", "ema_eval", "profile",
))
# fmt: on


def surroundings(config: Config) -> str:
    """A checksum of configuration (without its keys in `OUTSIDE_GRAPHS`), source, versions, processor, environment."""
    settings = {name: value for name, value in config.model_dump().items() if name not in OUTSIDE_GRAPHS}
    versions = (version("mindspore"), version("numpy"), platform.python_version())
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith(VARIABLES))
    return checksum_of(map(repr, (settings, source_checksum(PACKAGE), versions, processor(), variables)))


def source_checksum(folder: Path) -> str:
    """Changes with each source file below a folder, those of kernels included."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in SOURCES)
    return checksum_of(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)


@cache
def processor() -> str:
    """Architecture and instruction sets of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return f"{platform.machine()} {features}"


def checksum_of(texts: Iterable[str]) -> str:
    """SHA-256, in hexadecimal, of texts one by one."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode(errors="surrogateescape")).digest())
    return digest.hexdigest()
