"""Weights of this project's networks as PyTorch's state dicts."""

import json
import logging

import numpy as np
import pytest

from src.config import load_config
from src.models import build_detector
from src.weights.convert import convert_weights, pytorch_names
from tests.blocks import oracle
from tests.conftest import ROOT


def numbered_weights(config) -> dict[str, np.ndarray]:
    """Weights of a detector, each with values of its own."""
    parameters = build_detector(config).get_parameters()
    return {p.name: np.full(p.shape, n, np.float32) for n, p in enumerate(parameters)}


def test_names_and_shapes_are_mmdetections():
    published = json.loads((oracle.FOLDER / "params_mask_r50.json").read_text())["params"]
    state = pytorch_names(numbered_weights(load_config(ROOT / "configs/instaboost/mask_rcnn_r50_fpn.yaml")))
    expected = {name: tuple(shape) for name, shape in published if not name.endswith("num_batches_tracked")}
    assert {name: array.shape for name, array in state.items()} == expected


@pytest.mark.parametrize("path", ["refinedet/refinedet_r18_bccd_320", "spinenet_retinanet/retinanet_spinenet_bccd_384"])
def test_there_and_back_changes_nothing(path, caplog):
    config = load_config(ROOT / f"configs/{path}.yaml")
    weights = numbered_weights(config)
    state = pytorch_names(weights)
    assert not [name for name in state if name.endswith(("gamma", "beta", "moving_mean", "moving_variance"))]
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights({"state_dict": state}, config)
    assert not caplog.records
    assert arrays.keys() == weights.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, weights[name])
