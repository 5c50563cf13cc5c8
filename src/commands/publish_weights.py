"""The work of tools/publish_weights.py: the weights of a training become an entry of the zoo."""

import json
import logging
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel

from src.commands.evaluate import evaluate_checkpoint
from src.common.atomic import atomic_path
from src.common.checksum import sha256_of
from src.common.errors import UserError
from src.config import config_from_values
from src.config.load import leaves
from src.schema import Config, lookup
from src.weights.checkpoint import checkpoint_config, load_checkpoint_weights, save_weights
from src.weights.zoo import ENTRIES, ROOT, WEIGHTS_JSON, ZOO, ShippedWeights, store_weights, stored_weights, zoo_entries

logger = logging.getLogger(__name__)

LOSS_OF_AP = 0.002  # at most, for weights to be stored as float16
# Keys that say where a training ran and wrote, not what was learned.
OF_THE_RUN = (
    "brief", "train_dataset", "val_dataset", "train_outputs", "device_target", "device_id", "progress_bar", "resume",
    "checkpoint_path", "num_parallel_workers", "log_every", "test_batch_size",
)  # fmt: skip


@dataclass
class Subject:
    """What only a person can say about weights."""

    name: str
    data: str
    licence: str


def publish_weights(config: Config, subject: Subject, folder: Path = ZOO) -> ShippedWeights:
    """Store the weights of `checkpoint_path` in `folder`, measured on `val_dataset`, with a card and an entry.

    They are float16 where that costs no more than 0.002 of any AP, else float32.

    Args:
        config: of the network: a file of this project, whose path the entry notes.
        subject: the rest of the entry.
        folder: with `weights.json`.

    Returns:
        The entry.

    Raises:
        UserError: a name that cannot be one, a configuration outside the project, a checkpoint that does not fit, or
            one that holds no configuration; no commit.
    """
    if not re.fullmatch(r"\w[\w.-]*", subject.name):
        raise UserError(f"--name {subject.name}: letters, digits, '_', '-' and '.' make a name")
    path = Path(config.config_path).resolve()
    if not path.is_relative_to(ROOT):
        raise UserError(f"--config_path {config.config_path}: must be a file of this project ({ROOT})")
    trained = checkpoint_config(config.checkpoint_path)
    if not trained:
        raise UserError(f"{config.checkpoint_path} holds no configuration; publish a checkpoint of a training")
    commit, entries = _commit(), zoo_entries(folder)
    arrays = load_checkpoint_weights(config.checkpoint_path)
    before = _measured(config, arrays)
    file = folder / f"{subject.name}.safetensors"
    ap, dtype = _store(file, arrays, config, before)
    entry = ShippedWeights(
        file=file.name,
        sha256=sha256_of(file),
        config=path.relative_to(ROOT).as_posix(),
        data=subject.data,
        licence=subject.licence,
        recipe=_recipe(config, trained, path.relative_to(ROOT).as_posix()),
        ap={name: round(value, 4) for name, value in ap.items()},
        commit=commit,
    )
    parameters = sum(array.size for array in arrays.values()) / 1e6
    card = _card(subject.name, entry, f"{parameters:.2f} M, stored as {dtype.__name__}", before)
    with atomic_path(file.with_suffix(".md")) as temporary:
        temporary.write_text(card)
    with atomic_path(folder / WEIGHTS_JSON) as temporary:
        everything = ENTRIES.dump_python(entries | {subject.name: entry}, exclude_defaults=True)
        temporary.write_text(json.dumps(dict(sorted(everything.items())), indent=2, ensure_ascii=False) + "\n")
    logger.info(f"{file}: {file.stat().st_size / 1e6:.1f} MB, AP before {_listed(before)}, as stored {_listed(ap)}")
    return entry


def _store(
    file: Path, arrays: dict[str, np.ndarray], config: Config, before: dict[str, float]
) -> tuple[dict[str, float], type[np.floating]]:
    """Write the weights in the smallest type that keeps AP; their metrics, and the type."""
    for dtype in (np.float16, np.float32):
        with atomic_path(file) as temporary:
            store_weights(temporary, arrays, dtype)
        after = _measured(config, stored_weights(file))
        losses = {name: value - after[name] for name, value in before.items() if name.endswith("_mAP")}
        if dtype is np.float32 or max(losses.values()) <= LOSS_OF_AP:
            break
        logger.warning(f"float16 costs more than {LOSS_OF_AP} ({_listed(losses)}): stored as float32")
    return after, dtype


def _measured(config: Config, arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """{metric: value} of weights on the evaluation data: AP and AP50 of boxes, and of masks where there are any."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder, "weights.ckpt")
        save_weights(checkpoint, arrays)
        metrics, _, _ = evaluate_checkpoint(config.model_copy(update={"checkpoint_path": str(checkpoint)}))
    if metrics is None:
        raise UserError("weights are published by one process")
    return {f"{kind}_mAP{of}": metrics.stats[f"{kind}_mAP{of}"] for kind in config.iou_types for of in ("", "_50")}


def _recipe(config: Config, trained: dict, path: str) -> str:
    """The command that trains such weights: the configuration, and what the checkpoint says was different."""
    other = config_from_values(trained, "the checkpoint")
    changes = [("seed", other.seed)] + [
        (name, value) for name, value in _values(other) if name != "seed" and value != lookup(config, name)
    ]
    words = ["python", "train.py", "--config_path", path]
    for name, value in changes:
        if name not in OF_THE_RUN:
            text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
            words += [f"--{name}", text]
    return shlex.join(words)


def _values(config: Config) -> Iterator[tuple[str, object]]:
    for name, _ in leaves(type(config)):
        value = lookup(config, name)
        yield name, value.model_dump() if isinstance(value, BaseModel) else value


def _commit() -> str:
    """The commit of the project."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        raise UserError(f"{ROOT} is no git repository: an entry names the commit of the project") from None
    return done.stdout.strip()


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


def _card(name: str, entry: ShippedWeights, size: str, before: dict[str, float]) -> str:
    """The model card."""
    facts = asdict(entry)
    titles = {"data": "data", "licence": "licence of the data", "commit": "commit", "sha256": "SHA-256"}
    rows = [f"| {title} | {facts[key]} |" for key, title in titles.items()]
    metrics = [f"| {metric} | {before[metric]:.3f} | {value:.3f} |" for metric, value in entry.ap.items()]
    return "\n".join([
        f"# {name}", "",
        f"`zoo:{name}` is a detector of this project with trained weights.", "",
        "| | |", "|---|---|",
        f"| network | [{entry.config}](../{entry.config}) |",
        f"| parameters | {size} |",
        *rows, "",
        "Trained by", "",
        "```text", entry.recipe, "```", "",
        "Measured on the validation images of its data, which also chose the best checkpoint of the training:", "",
        "| metric | as trained | as stored |", "|---|---|---|", *metrics, "",
        "It was trained on these pictures alone: expect little of it on pictures of another kind.",
        "It is an example of what this project trains, and nothing to base decisions on.", "",
    ])  # fmt: skip
