"""Read, check, save and explain configurations. Nothing heavy is imported before everything was checked."""

from src.config.command_line import config_and_options, config_from_command_line, words_of_command_line
from src.config.load import config_from_values, load_config, save_config
from src.schema import Config

__all__ = [
    "Config",
    "config_and_options",
    "config_from_command_line",
    "config_from_values",
    "load_config",
    "save_config",
    "words_of_command_line",
]
