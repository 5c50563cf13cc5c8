"""The configuration that was saved with a checkpoint."""

import logging
from pathlib import Path
from typing import Any

from src.common.zoo_name import is_zoo_name
from src.config import config_from_values, load_config
from src.config.published_keys import standard_keys
from src.schema import Config

logger = logging.getLogger(__name__)


def config_of_checkpoint(arguments: dict[str, Any]) -> Config | None:
    """The configuration saved with the checkpoint that a command line names, other keys of the command line applied.

    It is the config.yaml of the checkpoint's experiment (beside it, or one folder up), else the one inside the file; of
    zoo:NAME the one that the zoo names.

    Args:
        arguments: {key: value} of the command line, without `config_path`.

    Returns:
        The configuration; None: no checkpoint is named, or no configuration was saved with it.

    Raises:
        UserError: the checkpoint is missing, or not in the zoo.
    """
    named, _ = standard_keys(arguments, None, "command line")
    path = named.get("checkpoint_path")
    if not path:
        return None
    if is_zoo_name(path):
        from src.weights.zoo import zoo_config  # not before: it imports mindspore

        file = zoo_config(path)
        logger.info(f"configuration: {file}, of the zoo")
        return load_config(file, arguments)
    for folder in (Path(path).parent, Path(path).parent.parent):
        if (folder / "config.yaml").is_file() and Path(path).is_file():
            logger.info(f"configuration: {folder / 'config.yaml'}, saved with the checkpoint")
            return load_config(folder / "config.yaml", arguments)
    if Path(path).suffix in (".mindir", ".onnx", ".ms"):
        return None
    from src.weights.checkpoint import checkpoint_config  # not before: it imports mindspore

    values = checkpoint_config(path)
    if not values:
        logger.info(f"{path} holds no configuration")
        return None
    logger.info(f"configuration: the one inside {path}")
    return config_from_values(values, str(path), arguments)
