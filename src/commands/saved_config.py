"""The configuration that a checkpoint was trained or converted with, on the data of a program's YAML."""

import logging
from pathlib import Path
from typing import Any

from src.commands.default_config import default_config
from src.config import load_config
from src.config.command_line import Fallback
from src.config.published_keys import standard_keys
from src.predictor.saved_config import config_of_checkpoint
from src.schema import Config

logger = logging.getLogger(__name__)

DATA_PATHS = (
    "train_dataset", "val_dataset", "coco_root", "voc_root", "image_dir", "anno_path", "mindrecord_dir",
)  # fmt: skip


def saved_config_of(program: str) -> Fallback:
    """A fallback of `config_from_command_line`: the checkpoint's configuration, on the data of the program's YAML.

    The published READMEs have the data's paths written into the YAML file that `default_config` finds, and evaluate by
    `--checkpoint_path` alone, perhaps on another machine than the training's. These paths come before those that were
    saved with the checkpoint: where both are given, for data of the same kind and classes, and unless only the saved
    path exists.
    """

    def fallback(arguments: dict[str, Any]) -> Config | None:
        config = config_of_checkpoint(arguments)
        return None if config is None else _with_data_of_yaml(config, program, arguments)

    return fallback


def _with_data_of_yaml(config: Config, program: str, arguments: dict[str, Any]) -> Config:
    path = default_config(program, {"dataset": config.dataset, **arguments})
    if path is None:
        return config
    yaml = load_config(path)
    kinds = [(one.detector, one.dataset, one.coco_classes) for one in (config, yaml)]
    if kinds[0] != kinds[1]:
        return config
    given, _ = standard_keys(arguments, config.detector, "command line")
    paths = {}
    for name in DATA_PATHS:
        saved, own = getattr(config, name), getattr(yaml, name)
        if name in given or not saved or not own or saved == own:
            continue
        if Path(own).exists() or not Path(saved).exists():
            paths[name] = own
            logger.info(f"{name}: {own} of {path}, not {saved}, which was saved with the checkpoint")
    return config.model_copy(update=paths)
