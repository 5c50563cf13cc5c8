"""JSON annotations of others, with everything that can be wrong with a file as one line."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from src.common.errors import UserError
from src.common.json_files import read_json_file
from src.common.text import shown

Model = TypeVar("Model", bound=BaseModel)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: it cannot be read, or is not valid.
    """
    return read_json_file(path, "cannot read the annotation ({})")


def read_model(path: Path, model: type[Model], what: str) -> Model:
    """The content of a JSON file, checked against a model; `what` it should be, for messages.

    Raises:
        UserError: as of `read_json`, or the content does not fit the model.
    """
    values = read_json(path)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        wrong = f"{place} is {shown(first['input'])}: {first['msg'].lower()}" if place else f"it is {shown(values)}"
        raise UserError(f"{path}: not {what}: {wrong}") from None
