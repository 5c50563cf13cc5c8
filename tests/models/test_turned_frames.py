"""A mask model whose frame turns computes for a portrait what a network built for the turned frame computes."""

import mindspore as ms
import numpy as np
import pytest

from src.config import load_config
from src.data.network_input import EvalTransform
from src.models import build_detector
from src.schema import Config
from src.weights.checkpoint import load_checkpoint_weights, load_weights
from tests.data.coco_files import noise_image
from tests.deploy.small_models import small_model

FRAME = {"img_width": 160, "img_height": 96, "divider": 32, "num_gts": 3}
TARGETS = (
    np.array([[[10, 20, 60, 90], [0, 0, 30, 150], [0, 0, 0, 0]]], np.float32),
    np.array([[1, 3, 0]], np.int32),
    np.array([[True, True, False]]),
    np.full((1, 3, 32, 32), 255, np.uint8),
)


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> list[Config]:
    """A configuration whose frame of 160 x 96 turns, and one with a fixed frame of 96 x 160; the same weights."""
    folder = tmp_path_factory.mktemp("turned")
    saved = small_model("mask_rcnn", folder)
    turning = load_config(folder / "mask_rcnn.yaml", {**FRAME, "checkpoint_path": saved.checkpoint_path})
    return [turning, turning.in_fixed_frame(turned=True)]


def net_of(config: Config) -> ms.nn.Cell:
    net = build_detector(config)
    load_weights(net, load_checkpoint_weights(config.checkpoint_path))
    return net


def test_shapes_of_the_input(configs: list[Config]) -> None:
    assert [config.input_shapes for config in configs] == [((96, 160), (160, 96)), ((160, 96),)]
    assert configs[0].in_fixed_frame().input_shapes == ((96, 160),)
    assert configs[1].config_path == configs[0].config_path
    square = load_config(configs[0].config_path, {"img_width": 64, "img_height": 64})
    assert square.turn_frame and square.input_shapes == ((64, 64),) and square.turning_hw is None
    same_input = load_config(configs[0].config_path, {"img_width": 60, "img_height": 50})  # 64 x 64
    assert same_input.turning_hw == (50, 60) and same_input.input_shapes == ((64, 64),)


def test_detections_and_losses_of_a_portrait(configs: list[Config], pynative: None) -> None:
    prepared = [EvalTransform.from_config(config)(noise_image(200, 130)) for config in configs]
    for turning, fixed in zip(*prepared, strict=True):
        np.testing.assert_array_equal(turning, fixed)
    images, info = (value[None] for value in prepared[0])
    assert images.shape == (1, 3, 160, 96) and info[0, 2:4].tolist() == [148, 96]
    nets = [net_of(config) for config in configs]
    found, expected = (net.predict(images, info) for net in nets)
    assert expected.valid.all()
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    boxes, labels, valid, masks = map(ms.Tensor, TARGETS)
    losses = [net.losses(ms.Tensor(images), ms.Tensor(info), boxes, labels, valid, masks) for net in nets]
    assert float(losses[0]["loss_mask"]) > 0
    assert {name: float(value) for name, value in losses[0].items()} == {n: float(v) for n, v in losses[1].items()}
    with pytest.raises(ValueError, match=r"images are \(96, 96\) \(height, width\); the network takes"):
        nets[0].predict(images[:, :, :96], info)
