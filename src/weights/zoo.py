"""Weights by name: those that the project ships in `zoo/`, and published ones that a person fetches.

`zoo:NAME` stands for an entry of `zoo/weights.json` wherever a checkpoint is read.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from src.common.checksum import sha256_of
from src.common.errors import UserError
from src.common.json_files import parse_json
from src.common.zoo_name import PREFIX, is_zoo_name
from src.models.paths import CONFIGS
from src.weights.convert import read_state, weight_arrays

ROOT = CONFIGS.parent
ZOO = ROOT / "zoo"
WEIGHTS_JSON = "weights.json"
STRICT = ConfigDict(extra="forbid")


@dataclass
class ShippedWeights:
    """A detector whose weights lie in `zoo/`, with the model card NAME.md beside them."""

    __pydantic_config__ = STRICT

    file: Annotated[str, Field(pattern=r"^[\w.-]+\.safetensors$")]  # in zoo/
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    config: str  # the configuration of its network, from the project's root
    data: str
    licence: str  # of the data
    recipe: str  # the command that trained it
    ap: dict[str, float]  # metrics by name, of these very weights
    commit: str  # of the project that trained it


@dataclass
class PublishedWeights:
    """Weights of others that the project converts and does not ship."""

    __pydantic_config__ = STRICT

    url: str
    config: str
    step: str  # what is done with the file after the download
    sha256_prefix: str = ""  # the first digits, where the publisher has them in the file's name; empty: not published


ENTRIES = TypeAdapter(dict[str, ShippedWeights | PublishedWeights])


def zoo_entries(folder: Path | None = None) -> dict[str, ShippedWeights | PublishedWeights]:
    """{name: entry} of the folder's `weights.json`.

    Raises:
        UserError: the file is missing, or not what the maker of entries writes.
    """
    path = (folder or ZOO) / WEIGHTS_JSON
    try:
        return ENTRIES.validate_python(parse_json(path.read_bytes()))
    except (OSError, ValueError) as error:
        first = error.errors(include_url=False)[0] if isinstance(error, ValidationError) else error
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if isinstance(first, dict) else first
        raise UserError(f"{path}: no list of weights ({reason})") from None


def shipped_weights(path: str | Path) -> ShippedWeights:
    """The entry of `zoo:NAME`.

    Raises:
        UserError: there is no such entry (the nearest names are given), or its weights are not shipped (where they
            are, and what to do with them).
    """
    name, entries = str(path).removeprefix(PREFIX), zoo_entries()
    entry = entries.get(name)
    if isinstance(entry, PublishedWeights):
        checksum = f"SHA-256 begins with {entry.sha256_prefix}" if entry.sha256_prefix else "no checksum is published"
        raise UserError(f"{path} is not shipped: download {entry.url} ({checksum}), then {entry.step}")
    if entry is None:
        close = difflib.get_close_matches(name, entries, n=3, cutoff=0.4)
        known = f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(entries)}"
        raise UserError(f"{path}: {ZOO / WEIGHTS_JSON} has no such entry; {known}")
    return entry


def zoo_config(path: str | Path) -> Path:
    """The configuration file of the network that `zoo:NAME` has weights for.

    Raises:
        UserError: as `shipped_weights`.
    """
    return ROOT / shipped_weights(path).config


def zoo_file(path: str | Path) -> Path:
    """The file with the weights of `zoo:NAME`, whole and unchanged.

    Raises:
        UserError: as `shipped_weights`; or the file is missing or damaged.
    """
    entry = shipped_weights(path)
    file = ZOO / entry.file
    if not file.is_file():
        raise UserError(f"{path}: {file} does not exist; get it again: git checkout -- zoo/{entry.file}")
    if sha256_of(file) != entry.sha256:
        raise UserError(
            f"{path}: {file} is damaged: its SHA-256 is not that of {WEIGHTS_JSON}; get it again: "
            f"git checkout -- zoo/{entry.file}"
        )
    return file


def local_file(path: str | Path) -> Path:
    """The file that a path of a checkpoint stands for: itself, or that of `zoo:NAME`."""
    return zoo_file(path) if is_zoo_name(path) else Path(path)


def zoo_weights(path: str | Path) -> dict[str, np.ndarray]:
    """{parameter name: float32 array} of `zoo:NAME`.

    Raises:
        UserError: as `zoo_file`.
    """
    return stored_weights(zoo_file(path))


def stored_weights(file: Path) -> dict[str, np.ndarray]:
    """{parameter name: float32 array} of a file of the zoo, whatever type they are stored in."""
    return weight_arrays(read_state(file))


def store_weights(file: Path, arrays: dict[str, np.ndarray], dtype: type[np.floating]) -> None:
    """Write weights as `stored_weights` reads them, as numbers of a type."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array, dtype) for name, array in arrays.items()}, file)
