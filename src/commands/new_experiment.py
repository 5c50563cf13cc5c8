"""Write the configuration of an experiment on data of one's own: the work of new_experiment.py."""

import logging
import math
import os
import shlex
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from src.commands.open_data import evaluation_path
from src.commands.split_dataset import split_dataset
from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.config import load_config
from src.data.formats.api import split_name
from src.data.raw_dataset import open_raw_dataset
from src.evaluation.anchor_fit import objects_in_network_pixels, suggest
from src.evaluation.data_facts import LEAST_LEARNT, SplitFacts, facts_of, suggested_num_gts, suggested_size
from src.models.anchors import anchor_spec
from src.models.paths import CONFIGS
from src.models.table import DETECTORS, spec_of
from src.schema import Config

ROOT = CONFIGS.parent
IMAGES_SEEN = 12_000  # of a training: what the small networks take to learn a few hundred images
FEWEST_EPOCHS, MOST_EPOCHS = 12, 300
EVALUATIONS = 6  # of a training
WARMUP_SHARE = 0.1  # of the steps, at most
LARGEST_SIDE = 1024  # pixels, that is suggested
VAL_FRACTION = 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """A key with its value and the reason for it."""

    key: str
    value: Any
    comment: str


def starting_config(model: str) -> Path:
    """The configuration that a model's experiments start from.

    Args:
        model: a detector, the name of a file of configs/ without its suffix, or the path of one.

    Raises:
        UserError: there is none.
    """
    if Path(model).is_file():
        return Path(model)
    if model in DETECTORS and (own := DETECTORS[model].own_data) is not None:
        return own
    found = sorted(CONFIGS.glob(f"*/{model}.yaml")) if "/" not in model else []
    if len(found) == 1:
        return found[0]
    known = [name for name, spec in DETECTORS.items() if spec.own_data is not None]
    several = f"; there are {', '.join(map(str, found))}" if found else ""
    raise UserError(
        f"--model {model}: give {', '.join(known)}, the name of a file of configs/ without .yaml, or the path of a "
        f"configuration{several}"
    )


def new_experiment(model: str, data: Config, folder: str, output: str = "", overwrite: bool = False) -> Path:
    """Write the configuration, and print the commands that follow.

    Args:
        model: see `starting_config`.
        data: where the training and, if there is other, the evaluation data is; see `data_config`.
        folder: what the user gave for both; empty: data has them apart.
        output: YAML file to write; empty: a name made of the model's and the data's.
        overwrite: replace the file.

    Returns:
        The file.

    Raises:
        UserError: data that cannot be read, or that does not fit the model.
    """
    start = starting_config(model)
    path = Path(output or f"{_word(Path(model).stem)}_{_word(Path(folder or data.train_dataset).stem)}.yaml")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another --output, or --overwrite 1")
    data = _with_evaluation_data(data, folder, path)
    lines = _lines(start, data, path.stem)
    config = _checked(start, lines)
    lines += _anchor_lines(config)
    _checked(start, lines)
    _write(path, start, lines)
    config = load_config(path)
    print(_next_commands(path, config))
    return path


def _with_evaluation_data(data: Config, folder: str, path: Path) -> Config:
    """The data with its evaluation part; where there is none, a part of the training data is set aside."""
    val = data.val_dataset or evaluation_path(data, folder)
    if val:
        return data.model_copy(update={"val_dataset": val})
    parts = path.with_suffix("").with_name(f"{path.stem}_data")
    logger.info(f"{parts}: the data in two parts, {VAL_FRACTION:.0%} of the images for evaluation")
    written = split_dataset(data, "coco", parts, fraction=VAL_FRACTION, overwrite=True)
    update = {f"{name}_dataset": str(one) for name, one in written.items()}
    return data.model_copy(update={**update, "dataset": "coco", "image_dir": ""})


def _checked(start: Path, lines: list[Line]) -> Config:
    """The configuration that the lines make; raises a UserError where a value does not fit the model."""
    return load_config(start, {line.key: line.value for line in lines})


def _lines(start: Path, data: Config, brief: str) -> list[Line]:
    base = load_config(start, {"coco_classes": data.coco_classes, "num_classes": data.num_classes, "category_ids": []})
    facts = []
    for training in (True, False):
        opened = open_raw_dataset(data, training)
        facts.append(facts_of(opened, split_name(training), decode=False))
        if training:
            category_ids, annotations = opened.category_ids, opened
    with_masks = base.mask_options is not None
    if with_masks:  # says where there are none, before anything is written
        masked = base.model_copy(update={n: getattr(data, n) for n in ("dataset", "train_dataset", "image_dir")})
        open_raw_dataset(masked, True, with_masks=True)
    logger.info(f"{annotations.annotation_file}: {facts[0].images} training images, {facts[1].images} to evaluate")
    height, width = _input_size(base, facts[0])
    return [
        Line("brief", brief, "name of the experiment: its folder in train_outputs"),
        Line("dataset", data.dataset, "how objects are annotated"),
        Line("train_dataset", data.train_dataset, f"{facts[0].images} images"),
        Line("val_dataset", data.val_dataset, f"{facts[1].images} images"),
        *([Line("image_dir", data.image_dir, "folder of the images")] if data.image_dir else []),
        Line("mindrecord_dir", "", "a folder: pack the data there first"),
        Line("coco_classes", data.coco_classes, "the names in the annotations"),
        Line("num_classes", data.num_classes, "their number, background included"),
        Line("category_ids", category_ids, "what predictions call them"),
        Line("num_gts", suggested_num_gts(facts), f"at most {max(one.most_objects for one in facts)} in an image"),
        Line("img_width", width, f"so that nine of ten objects have {LEAST_LEARNT} pixels, as far as time allows;"),
        Line("img_height", height, "smaller is faster, larger finds smaller objects"),
        *_training_lines(base, facts[0].images),
    ]


def _input_size(base: Config, facts: SplitFacts) -> tuple[int, int]:
    """Height and width of the network's input; a square one stays square, and at least as large."""
    height, width = suggested_size(facts, max(base.divider, 64), most=LARGEST_SIDE)
    if base.img_height == base.img_width:
        height = width = max(height, width, base.img_height)
    return height, width


def _training_lines(base: Config, images: int) -> list[Line]:
    batch = max(min(base.batch_size, images), 1)
    epochs = min(max(math.ceil(IMAGES_SEEN / max(images, 1)), FEWEST_EPOCHS), MOST_EPOCHS)
    steps = epochs * (images // batch)
    warmup = min(base.warmup_step, int(WARMUP_SHARE * steps))
    return [
        Line("batch_size", batch, "images per step; fewer need less memory"),
        Line("epoch_size", epochs, f"{steps} steps; the learning rate falls until the end"),
        Line("eval_every", max(epochs // EVALUATIONS, 1), "epochs between evaluations"),
        Line("warmup_step", warmup, "steps until the full learning rate"),
    ]


def _anchor_lines(config: Config) -> list[Line]:
    """Anchors that fit the objects clearly better than those of the model, if there are such."""
    if spec_of(config).anchors is None:
        return []
    dataset = open_raw_dataset(config, True)
    objects = objects_in_network_pixels(dataset.records, config)
    if not len(objects.boxes):
        raise UserError(f"{dataset.annotation_file}: no object to learn from")
    changes, _, _ = suggest(config, objects)
    section = anchor_spec(config).section
    return [Line(f"{section}.{name}", value, "fits these objects better") for name, value in changes.items()]


def _write(path: Path, start: Path, lines: list[Line]) -> None:
    folder, target = path.absolute().parent, start.resolve()
    base = os.path.relpath(target, folder) if folder.is_relative_to(ROOT) else str(target)
    text = [f"# Made by new_experiment.py for {lines[2].value}.", "# What is not here is inherited from the base."]
    text.append(f"base: {_yaml(base)}")
    opened: list[str] = []
    for line in lines:
        *sections, name = line.key.split(".")
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(opened, sections, strict=False)))
        text += [f"{'  ' * depth}{sections[depth]}:" for depth in range(common, len(sections))]
        opened = sections
        text.append(f"{'  ' * len(sections)}{name}: {_yaml(line.value)}  # {line.comment}")
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(text) + "\n", encoding="utf-8")


def _yaml(value: Any) -> str:
    """A value in YAML's flow style, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _word(text: str) -> str:
    """A text as part of a file's name."""
    return "".join(one if one.isalnum() or one in "-_" else "_" for one in text) or "data"


def _next_commands(path: Path, config: Config) -> str:
    """What to do next: train, evaluate, detect."""
    best = config.checkpoint_folder / "best.ckpt"
    image = next(iter(open_raw_dataset(config, False).records)).name
    found = Path(config.train_outputs, config.brief, "found.json")
    given: list[tuple[str, dict[str, object]]] = [
        ("train.py", {}),
        ("eval.py", {"checkpoint_path": best}),
        ("infer.py", {"checkpoint_path": best, "pred_input": image, "pred_output": found}),
    ]
    lines = [f"{path} is written; look it over, then:"]
    for program, keys in given:
        place = program if Path(program).is_file() else ROOT / program
        words = [f"--{name} {shlex.quote(str(value))}" for name, value in {"config_path": path, **keys}.items()]
        lines.append(" ".join([f"python {shlex.quote(str(place))}", *words]))
    return "\n".join(lines)
