"""Keys that experiments share: name, type, default, allowed values and the comment that `--help` shows."""

from src.schema.access import lookup, require
from src.schema.experiment import Config

__all__ = ["Config", "lookup", "require"]
