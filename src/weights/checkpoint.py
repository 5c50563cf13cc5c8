"""Checkpoints: weights only, or a whole training state, written atomically and checksummed.

A checkpoint is a MindSpore .ckpt file. Weights have their own names; optimizer state is prefixed, so that neither can
be mistaken for the other; so are averages of the weights; everything else is one JSON string.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src.common.atomic import writing
from src.common.errors import UserError
from src.common.leftovers import writing_folder
from src.schema import Config

__all__ = [
    "TrainingState",
    "checkpoint_config",
    "load_checkpoint_weights",
    "load_fitting_weights",
    "load_training_state",
    "load_weights",
    "point_to",
    "save_training_state",
    "save_weights",
]

Averages = Mapping[str, ms.Parameter]  # by the names of the weights

OPTIMIZER_PREFIX = "optimizer/"
AVERAGE_PREFIX = "average/"
META_NAME = "meta_json"


@dataclass
class TrainingState:
    """Where a training stands, apart from weights and optimizer."""

    step: int = 0  # updates done since the start
    epoch: int = 0  # whole epochs done
    step_in_epoch: int = 0  # updates done in the running epoch
    loss_sum: float = 0.0  # of the running epoch's updates
    loss_scale: float = 1.0
    best_metric: float = -1.0
    evaluations_since_best: int = 0
    unevaluated_loss: float | None = None  # mean loss of the epoch whose evaluation is still to come; None: none is
    seed: int = 1
    config: dict = field(default_factory=dict)


def save_weights(path: str | Path, arrays: dict[str, np.ndarray], config: Config | dict | None = None) -> None:
    """Write weights only.

    Args:
        path: file to write; it appears complete or not at all.
        arrays: {name: array}.
        config: configuration to note in the file, or its nested values as `checkpoint_config` gives them.
    """
    values = config.model_dump() if isinstance(config, Config) else config
    meta = {"config": values} if values else {}
    _write(Path(path), arrays, meta)


def save_training_state(
    path: str | Path, net: nn.Cell, optimizer: nn.Cell, state: TrainingState, averages: Averages | None = None
) -> None:
    """Write weights, their averages where there are any, optimizer state and `state`."""
    weights = {name: parameter.asnumpy() for name, parameter in net.parameters_dict().items()}
    arrays = dict(weights)
    for name, parameter in optimizer.parameters_dict().items():
        if name not in weights:
            arrays[OPTIMIZER_PREFIX + name] = parameter.asnumpy()
    for name, average in (averages or {}).items():
        arrays[AVERAGE_PREFIX + name] = average.asnumpy()
    _write(Path(path), arrays, asdict(state))


def load_training_state(
    path: str | Path, net: nn.Cell, optimizer: nn.Cell, averages: Averages | None = None
) -> TrainingState:
    """Read what `save_training_state` wrote into `net`, `optimizer` and `averages`.

    Averages that the checkpoint does not have start as its weights.

    Raises:
        UserError: the file is no training checkpoint, or belongs to another network or optimizer.
    """
    arrays, meta = _read(Path(path))
    if "step" not in meta:
        raise UserError(f"{path}: holds weights alone; a training can be resumed only from its own checkpoints")
    weights = _weights(arrays, averaged=False)
    load_weights(net, weights, source=str(path))
    if averages:
        saved = _with_prefix(arrays, AVERAGE_PREFIX) or {name: weights[name] for name in averages}
        _assign(averages, saved, f"{path} (averaged weights)")
    own = {name: p for name, p in optimizer.parameters_dict().items() if name not in net.parameters_dict()}
    _assign(own, _with_prefix(arrays, OPTIMIZER_PREFIX), f"{path} (optimizer state)")
    return TrainingState(**meta)


def load_checkpoint_weights(path: str | Path, averaged: bool = True) -> dict[str, np.ndarray]:
    """Weights of a checkpoint as {name: array}, without optimizer state.

    Args:
        path: of the checkpoint.
        averaged: take the averages of the weights where the checkpoint has them.

    Raises:
        UserError: the file is missing, truncated, changed, or no checkpoint.
    """
    return _weights(_read(Path(path))[0], averaged)


def checkpoint_config(path: str | Path) -> dict:
    """The configuration that a checkpoint notes, as nested values; {} where it notes none.

    Raises:
        UserError: as `load_checkpoint_weights`.
    """
    return _read(Path(path))[1].get("config", {})


def load_weights(net: nn.Cell, arrays: dict[str, np.ndarray], source: str = "the checkpoint") -> None:
    """Set every parameter of `net`.

    Args:
        net: network.
        arrays: {parameter name: array}.
        source: where the arrays come from, for messages.

    Raises:
        UserError: names every missing, unexpected or misshapen entry; `net` is left as it was.
    """
    _assign(net.parameters_dict(), arrays, source)


def load_fitting_weights(net: nn.Cell, arrays: dict[str, np.ndarray]) -> list[str]:
    """Set the parameters of `net` that have an entry of their name and shape; return a line for each other entry."""
    parameters = net.parameters_dict()
    problems = _differences(parameters, arrays)
    for name, parameter in parameters.items():
        if name in arrays and tuple(arrays[name].shape) == tuple(parameter.shape):
            _set(parameter, arrays[name])
    return problems


def point_to(link: Path, target: Path) -> None:
    """Make `link` another name of the file `target` (a copy where the file system has no hard links)."""
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(target, temporary)
    except OSError:
        shutil.copyfile(target, temporary)
    temporary.replace(link)


def _weights(arrays: dict[str, np.ndarray], averaged: bool) -> dict[str, np.ndarray]:
    weights = {name: array for name, array in arrays.items() if not name.startswith((OPTIMIZER_PREFIX, AVERAGE_PREFIX))}
    return weights | _with_prefix(arrays, AVERAGE_PREFIX) if averaged else weights


def _with_prefix(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The entries of a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _write(path: Path, arrays: dict[str, np.ndarray], meta: dict) -> None:
    parameters = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]
    with writing(path), without_guesses_of_mindspore():
        _write_parameters(path, parameters, meta)


def _write_parameters(path: Path, parameters: list[dict], meta: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # MindSpore appends .ckpt to other names; its own temporary files stay in this folder if the process is killed.
    with writing_folder(path.parent) as folder:
        temporary = folder / "weights.ckpt"
        ms.save_checkpoint(parameters, str(temporary), append_dict={META_NAME: json.dumps(meta)}, crc_check=True)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    if not path.is_file():
        raise UserError(f"checkpoint {path} does not exist")
    if path.suffix != ".ckpt":
        raise UserError(f"{path}: a checkpoint ends in .ckpt; convert_weights.py makes one of .pth, .safetensors, .npz")
    if path.stat().st_size == 0:
        raise UserError(f"checkpoint {path} is empty")
    try:
        with without_guesses_of_mindspore():
            entries = ms.load_checkpoint(str(path), crc_check=True)
    except (ValueError, RuntimeError, TypeError):
        raise UserError(f"checkpoint {path} is damaged, or no checkpoint: its checksum or format is wrong") from None
    meta = entries.pop(META_NAME, None)
    arrays = {name: entry.asnumpy() for name, entry in entries.items() if hasattr(entry, "asnumpy")}
    return arrays, json.loads(str(meta)) if meta is not None else {}


@contextmanager
def without_guesses_of_mindspore() -> Iterator[None]:
    """MindSpore logs what it guesses ("may not have permission") beside raising."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _differences(parameters: Mapping[str, ms.Parameter], arrays: dict[str, np.ndarray]) -> list[str]:
    missing = [f"missing {name}" for name in parameters if name not in arrays]
    unexpected = [f"unexpected {name}" for name in arrays if name not in parameters]
    misshapen = [
        f"{name} has shape {tuple(arrays[name].shape)}, the network {tuple(parameter.shape)}"
        for name, parameter in parameters.items()
        if name in arrays and tuple(arrays[name].shape) != tuple(parameter.shape)
    ]
    return missing + unexpected + misshapen


def _assign(parameters: Mapping[str, ms.Parameter], arrays: dict[str, np.ndarray], source: str) -> None:
    problems = _differences(parameters, arrays)
    if problems:
        raise UserError(f"{source} does not fit the network: " + "; ".join(problems))
    for name, parameter in parameters.items():
        _set(parameter, arrays[name])


def _set(parameter: ms.Parameter, array: np.ndarray) -> None:
    parameter.set_data(ms.Tensor(np.array(array, order="C"), dtype=parameter.dtype))
