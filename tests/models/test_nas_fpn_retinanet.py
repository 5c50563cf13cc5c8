"""RetinaNet on ResNet-50 with NAS-FPN against mmdetection: raw outputs, detections, losses, gradients."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.commands.count_parameters import summarise
from src.config import load_config
from src.engine.train_step import GradientCell
from src.models import build_detector
from src.weights.checkpoint import load_weights
from src.weights.convert import convert_weights
from tests.blocks import oracle
from tests.conftest import ROOT

CONFIGS = ROOT / "configs" / "nas_fpn"
OBJECTS = 6


def published_detector(expected: dict[str, np.ndarray], **overrides) -> nn.Cell:
    """The detector of an oracle with its seeded weights, converted as a user would."""
    height, width = expected["x"].shape[2:]
    size = {"img_height": height, "img_width": width}
    config = load_config(CONFIGS / "retinanet_r50_nasfpn_640_50e.yaml", size | overrides)
    net = build_detector(config)
    load_weights(net, convert_weights(oracle.published_state("retina_nasfpn", int(expected["seed"])), config))
    return net


def test_parameters_and_multiply_adds_are_the_published_ones(pynative):
    summary = summarise(load_config(CONFIGS / "retinanet_r50_nasfpn_640.yaml"))
    assert round(sum(summary.parameters.values()) / 1e6, 3) == 59.980
    assert sum(summary.macs.values()) / 1e9 == pytest.approx(138.4, abs=0.05)


def test_detections_equal_mmdetections():
    expected = oracle.arrays("det_retina_nasfpn")
    net = published_detector(expected)
    images, scale = expected["x"].astype(np.float32), float(expected["scale_factor"])
    logits, deltas = net.set_train(False).compiled_outputs(ms.Tensor(images))
    for level in range(5):
        assert oracle.relative_error(expected, f"cls_l{level}", logits[level]) < 1e-3
        assert oracle.relative_error(expected, f"reg_l{level}", deltas[level]) < 1e-3
    info = np.array([[*expected["ori_hw"], *expected["img_hw"], scale, scale]], np.float32)
    # mmdetection clips before it divides by the rounded scale: its boxes end up to 1.28 pixels beyond the image.
    height, width = expected["ori_hw"]
    expected["rescaled/boxes"] = np.minimum(expected["rescaled/boxes"], [width, height, width, height])
    assert oracle.matched(net.predict(images, info), expected, "rescaled") >= 98


def training_batch(expected: dict[str, np.ndarray]) -> list[ms.Tensor]:
    """images, image_info, boxes, labels, valid."""
    images = expected["x"].astype(np.float32)
    info = np.array([[*hw, *hw, 1, 1] for hw in expected["img_hw"]], np.float32)
    boxes = np.zeros((len(images), OBJECTS, 4), np.float32)
    labels, valid = np.zeros((len(images), OBJECTS), np.int32), np.zeros((len(images), OBJECTS), bool)
    for i in range(len(images)):
        found = len(expected[f"gt{i}/boxes"])
        boxes[i, :found], labels[i, :found] = expected[f"gt{i}/boxes"], expected[f"gt{i}/labels"]
        valid[i, :found] = True
    return [ms.Tensor(array) for array in (images, info, boxes, labels, valid)]


def test_losses_and_gradients_equal_mmdetections():
    expected = oracle.arrays("train_retina_nasfpn")
    net = published_detector(expected, num_gts=OBJECTS).set_train(True)
    parameters = net.trainable_params()
    terms, gradients = GradientCell(net, parameters, 1.0)(*training_batch(expected), None, None, None)
    losses = dict(zip(net.loss_names, terms.asnumpy().tolist(), strict=True))
    assert losses == pytest.approx(oracle.expected_losses(expected), rel=2e-4)

    names = [parameter.name.replace(".gamma", ".weight").replace(".beta", ".bias") for parameter in parameters]
    norms = {name: np.linalg.norm(g.asnumpy()) for name, g in zip(names, gradients, strict=True)}
    wanted = dict(zip(expected["grad_names"].tolist(), expected["grad_norms"].tolist(), strict=True))
    assert norms.keys() == wanted.keys()
    largest = max(wanted.values())
    wrong = {name: (norms[name], w) for name, w in wanted.items() if abs(norms[name] - w) > 2e-2 * w + 1e-4 * largest}
    assert not wrong
    for name in ("backbone.layer2.0.conv1.weight", "bbox_head.retina_reg.weight"):
        gradient = gradients[names.index(name)]
        assert oracle.relative_error(expected, f"grad/{name}", gradient) < 5e-2, name
