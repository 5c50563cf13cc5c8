"""The borders of the project, each with a small good file, damage to it, and what must hold of what is read."""

import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path

import yaml

from src.config import load_config
from src.config.load import config_from_values
from tests.conftest import ROOT
from tests.faults.annotation_borders import (
    coco,
    cvat,
    evaluated_annotations,
    fiftyone,
    labelme,
    lvis,
    txt,
    voc,
    voc_list,
    yolo,
)
from tests.faults.campaign import Border, Case
from tests.faults.checks import check, check_finite
from tests.faults.file_borders import cards, checkpoints, coco_results, images, mindrecord, predictions
from tests.faults.mutations import damaged_bytes, damaged_value

EXPERIMENTS = ("spinenet_retinanet/default_config", "nas_fpn/default_config", "instaboost/default_config",
               "refinedet/refinedet_vgg16_320")  # fmt: skip


def configuration(folder: Path) -> Case:
    values = [yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text()) for name in EXPERIMENTS]
    full = [load_config(ROOT / f"configs/{name}.yaml").model_dump() for name in EXPERIMENTS]
    for one in values:
        one.pop("base")
    path = folder / "experiment.yaml"

    def damage(rng: random.Random) -> None:
        number = rng.randrange(len(values))
        base = f"base: {ROOT / f'configs/{EXPERIMENTS[number]}.yaml'}\n"
        if rng.random() < 0.3:
            path.write_bytes(base.encode() + damaged_bytes(yaml.safe_dump(values[number]).encode(), rng))
            return
        changed = damaged_value(full[number], rng)
        text = json.dumps(changed).replace("Infinity", ".inf").replace("NaN", ".nan")
        path.write_text(text if isinstance(changed, dict) else base + text)

    def read() -> None:
        config = load_config(path)
        check_finite(config.model_dump())
        check(len(config.class_names) == config.num_classes - 1, "other classes than their number")
        check(max(config.input_hw) < 2**16, f"an input of {config.input_hw}")
        config_from_values(config.model_dump(), "a checkpoint")

    return Case(damage, read)


def _without_warnings(prepare: Callable[[Path], Case]) -> Callable[[Path], Case]:
    def prepared(folder: Path) -> Case:
        warnings.simplefilter("ignore")
        folder.mkdir(parents=True, exist_ok=True)
        return prepare(folder)

    return prepared


BORDERS = [
    Border(prepare.__name__, _without_warnings(prepare))
    for prepare in (
        configuration, coco, evaluated_annotations, voc, voc_list, txt, yolo, labelme, lvis, cvat, fiftyone, mindrecord,
        checkpoints, cards, predictions, coco_results, images,
    )
]  # fmt: skip
