"""Read keys by their names."""

from typing import Any

from pydantic import BaseModel

from src.common.errors import UserError
from src.schema.experiment import Config


def lookup(config: BaseModel, name: str) -> Any:
    """The value of a key by its dotted name, such as 'rpn.anchor_generator.scales'."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def require(config: Config, *names: str) -> None:
    """Raise a UserError unless the named keys are set."""
    for name in names:
        if not getattr(config, name):
            comment = type(config).model_fields[name].description
            raise UserError(f"--{name} is missing in {config.config_path or 'the configuration'}: {comment}")
