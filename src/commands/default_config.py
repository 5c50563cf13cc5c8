"""Which configuration a program takes when it names none, as the published NAS-FPN and RefineDet commands do.

eval.py and export.py first look for the one that was saved with the checkpoint (saved_config.py); this is for the rest.
The published commands share the programs' names, so each detector's spec tells from the arguments which are its own.
"""

import logging
from pathlib import Path
from typing import Any

from src.config import load_config
from src.config.command_line import Fallback
from src.models.table import DETECTORS
from src.schema import Config

logger = logging.getLogger(__name__)


def default_config(program: str, arguments: dict[str, Any]) -> Path | None:
    """The YAML file of a published command without `--config_path`; None where the program has no default.

    Args:
        program: file name of the program, such as 'train.py'.
        arguments: {name without dashes: value} of its command line.
    """
    found = (spec.default_config(program, arguments) for spec in DETECTORS.values())
    return next((path for path in found if path is not None), None)


def default_of(program: str) -> Fallback:
    """A fallback of `config_from_command_line`: the default configuration of a program, which it prints."""

    def fallback(arguments: dict[str, Any]) -> Config | None:
        path = default_config(program, arguments)
        if path is None:
            return None
        logger.info(f"configuration: {path} (the default of this command; --config_path names another)")
        return load_config(path, arguments)

    return fallback
