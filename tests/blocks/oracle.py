"""Expected numbers of tests/oracles and how tests compare with them."""

import json
import re
import zlib
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from src.blocks.layers import Norm
from tests.oracles.seeded_weights import seeded_state

PYTORCH_NORM = Norm(momentum=0.1, eps=1e-5)
FOLDER = Path(__file__).parents[1] / "oracles"
BN_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def arrays(name: str) -> dict[str, np.ndarray]:
    """All arrays of `<name>.npz`."""
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def published_state(model: str, seed: int) -> dict[str, np.ndarray]:
    """Seeded weights of `params_<model>.json` by their published names, checked against its checksums."""
    spec = json.loads((FOLDER / f"params_{model}.json").read_text())
    state = seeded_state(spec["params"], seed)
    for name, check in spec["check"].get(str(seed), {}).items():
        assert zlib.crc32(state[name].tobytes()) == check["crc32"], name
    return state


def set_published_weights(net: nn.Cell, model: str, seed: int) -> None:
    """Give `net` the seeded weights; both must have the same names, BN apart."""
    state = published_state(model, seed)
    parameters = net.parameters_dict()
    renamed = {}
    for name, array in state.items():
        module, _, leaf = name.rpartition(".")
        leaf = BN_NAMES[leaf] if f"{module}.running_mean" in state else leaf
        renamed[f"{module}.{leaf}"] = array
    assert set(renamed) == set(parameters)
    for name, parameter in parameters.items():
        assert parameter.shape == renamed[name].shape, name
        parameter.set_data(ms.Tensor(renamed[name]))


def relative_error(expected: dict[str, np.ndarray], key: str, actual: ms.Tensor) -> float:
    """Largest difference from `expected[key]` (whole or sampled), relative to its largest magnitude."""
    actual = actual.asnumpy()
    if key in expected:
        wanted = expected[key]
        assert actual.shape == wanted.shape
    else:
        wanted = expected[f"{key}/val"]
        assert actual.shape == tuple(expected[f"{key}/shape"])
        actual = actual.reshape(-1)[expected[f"{key}/idx"]]
    return float(np.abs(actual - wanted).max() / np.abs(wanted).max())


def expected_losses(expected: dict[str, np.ndarray]) -> dict[str, float]:
    """Losses by our names: mmdetection's are split by level, and followed by accuracies."""
    sums: dict[str, float] = {}
    for name, value in zip(expected["loss_names"], expected["loss_values"], strict=True):
        name = re.sub(r"\.\d+$", "", str(name))
        sums[name] = sums.get(name, 0.0) + float(value)
    return {name: value for name, value in sums.items() if "loss" in name}


def matched(detections, expected: dict[str, np.ndarray], prefix: str) -> int:
    """Expected detections that have one of their own: the same label, IoU over 0.99, scores within 1e-3."""
    boxes, free = detections.boxes[0], detections.valid[0].copy()
    total = 0
    for box, score, label in zip(*(expected[f"{prefix}/{key}"] for key in ("boxes", "scores", "labels")), strict=True):
        sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
        common = np.prod(np.maximum(sides, 0), axis=1)
        union = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2]) - common
        close = (common > 0.99 * union) & (np.abs(detections.scores[0] - score) < 1e-3)
        place = np.flatnonzero(free & close & (detections.labels[0] == label))
        if len(place):
            free[place[0]] = False
            total += 1
    return total
