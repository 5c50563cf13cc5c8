"""Fixtures of RefineDet: networks, and the oracle's predictions and objects."""

from pathlib import Path

import mindspore as ms
import numpy as np

from src.config import load_config
from src.schema import Config

CONFIGS = Path(__file__).parents[2] / "configs" / "refinedet"
NAMES = ("arm_loc", "arm_conf", "odm_loc", "odm_conf")
NARROW = {"backbone.base_channels": 4, "neck.out_channels": 8}
SIZE_320, OBJECTS = 320, 6


def config_of(name: str = "refinedet_vgg16_320_voc", **overrides) -> Config:
    """A configuration of configs/refinedet; `__` in a keyword stands for a dot."""
    return load_config(CONFIGS / f"{name}.yaml", {key.replace("__", "."): value for key, value in overrides.items()})


def narrow_config(size: int = 128, **overrides) -> Config:
    """A RefineDet of few channels with the published anchors."""
    return config_of(**NARROW | {"img_height": size, "img_width": size} | overrides)


def oracle_predictions(expected: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Raw outputs of two images that the oracle's losses belong to."""
    priors = len(expected["320/priors"])
    drawn = []
    for i, (width, std) in enumerate(((4, 0.8), (2, 1.5), (4, 0.8), (21, 1.5))):
        rng = np.random.default_rng([int(expected["320/pred_seed"]), i])
        drawn.append(rng.normal(0, std, (2, priors, width)).astype(np.float16))
    drawn[1][..., 0] += np.float16(2)
    drawn[3][..., 0] += np.float16(3)
    return [array.astype(np.float32) for array in drawn]


def oracle_objects(expected: dict[str, np.ndarray]) -> list[ms.Tensor]:
    """boxes, labels and valid of these images."""
    boxes, labels = np.zeros((2, OBJECTS, 4), np.float32), np.zeros((2, OBJECTS), np.int32)
    valid = np.zeros((2, OBJECTS), bool)
    for i in range(2):
        rows = expected[f"320/target{i}"]
        boxes[i, : len(rows)] = rows[:, :4] * SIZE_320
        labels[i, : len(rows)] = rows[:, 4]
        valid[i, : len(rows)] = True
    return [ms.Tensor(array) for array in (boxes, labels, valid)]


def expected_detections(rows: np.ndarray, size: int) -> dict[str, np.ndarray]:
    """Rows of class, score, x1 y1 x2 y2 in 0..1 as `oracle.matched` takes them, inside the image."""
    boxes = np.clip(rows[:, 2:] * size, 0, size)
    return {"best/labels": rows[:, 0] - 1, "best/scores": rows[:, 1], "best/boxes": boxes}
