"""Published weights of RefineDet, and ImageNet classifiers as its backbone."""

import json
import logging
import re

import numpy as np
import pytest

from src.blocks.backbones import VGG16, ResNet
from src.blocks.layers import Norm
from src.common.errors import UserError
from src.models import build_detector
from src.weights.checkpoint import load_weights, save_weights
from src.weights.convert import convert_weights
from src.weights.pretrained import load_pretrained_backbone
from tests.blocks import oracle
from tests.blocks.refinedet_oracle import config_of, narrow_config
from tests.weights.published_mask_rcnn import published_names

# This project's modules in the port: (pattern, function of the match)
PORT = (
    (r"backbone\.features\.(\d+)", lambda m: f"vgg.{m[1]}"),
    (r"levels\.l2_norms\.(\d)", lambda m: f"conv{4 + int(m[1])}_3_L2Norm"),
    (r"levels\.conv6_(\d)", lambda m: f"extras.{int(m[1]) - 1}"),
    (r"(arm|odm)_head\.(loc|conf)_convs\.(\d)", lambda m: f"{m[1]}_{m[2]}.{m[3]}"),
    (r"neck\.blocks\.(\d)\.conv1\.conv", lambda m: f"tcb0.{3 * int(m[1])}"),
    (r"neck\.blocks\.(\d)\.conv2\.conv", lambda m: f"tcb0.{3 * int(m[1]) + 2}"),
    (r"neck\.blocks\.(\d)\.conv3\.conv", lambda m: f"tcb2.{3 * int(m[1]) + 1}"),
    (r"neck\.blocks\.(\d)\.upsample\.deconv", lambda m: f"tcb1.{m[1]}"),
)
WIDTH = 4  # channels of VGG's first group


def port_name(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    for pattern, renamed in PORT:
        if match := re.fullmatch(pattern, module):
            return f"{renamed(match)}.{leaf}"
    raise KeyError(name)


def random_weights(net) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {p.name: rng.uniform(0.5, 1.5, p.shape).astype(np.float32) for p in net.get_parameters()}


CONFIG = narrow_config()
WEIGHTS = random_weights(build_detector(CONFIG))
STATE = {port_name(name): array for name, array in WEIGHTS.items()}


def test_the_ports_names_fill_the_whole_network(caplog):
    published = json.loads((oracle.FOLDER / "params_refinedet_vgg16_320_voc.json").read_text())["params"]
    assert STATE.keys() == {name for name, _ in published}
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights({"state_dict": {f"module.{name}": array for name, array in STATE.items()}}, CONFIG)
    assert not caplog.records
    assert arrays.keys() == WEIGHTS.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, WEIGHTS[name])
    load_weights(build_detector(CONFIG), arrays)


def test_other_classes_detectors_and_backbones_are_refused():
    names = ["background", "circle", "square"]
    with pytest.raises(UserError, match="the weights predict 20 classes, the configuration 2"):
        convert_weights(STATE, narrow_config(num_classes=3, coco_classes=names))
    with pytest.raises(UserError, match="refinedet_resnet101_320.yaml is for backbone resnet"):
        convert_weights(STATE, config_of("refinedet_resnet101_320"))
    with pytest.raises(UserError, match="is for with_bn"):
        convert_weights(STATE, narrow_config(neck__with_bn=True))


def vgg_classifier(with_bn: bool) -> dict[str, np.ndarray]:
    """Weights by torchvision's names, of a narrow VGG-16."""
    rng = np.random.default_rng(1)
    layers, channels, state = [], 3, {}
    for group in (1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8):
        for factor in group:
            layers.append(("conv", (factor * WIDTH, channels, 3, 3)))
            channels = factor * WIDTH
            layers += [("bn", (channels,))] * with_bn + [("relu", ())]
        layers.append(("pool", ()))
    for i, (kind, shape) in enumerate(layers):
        leaves = {"conv": ("weight", "bias"), "bn": ("weight", "bias", "running_mean", "running_var")}.get(kind, ())
        for leaf in leaves:
            size = shape if leaf == "weight" else shape[:1]
            state[f"features.{i}.{leaf}"] = rng.uniform(0.5, 1.5, size).astype(np.float32)
    outputs = 64 * WIDTH
    for i, shape in ((0, (outputs, channels * 49)), (3, (outputs, outputs)), (6, (1000, outputs))):
        state[f"classifier.{i}.weight"] = rng.normal(size=shape).astype(np.float32)
        state[f"classifier.{i}.bias"] = rng.normal(size=shape[:1]).astype(np.float32)
    return state


@pytest.mark.parametrize("with_bn", [False, True])
def test_an_imagenet_vgg16_is_a_backbone_with_decimated_fc6_and_fc7(with_bn, tmp_path):
    state = vgg_classifier(with_bn)
    np.savez(tmp_path / "vgg16.npz", **state)
    backbone = VGG16(WIDTH, Norm() if with_bn else None)
    load_pretrained_backbone(backbone, tmp_path / "vgg16.npz")
    loaded = {p.name: p.asnumpy() for p in backbone.get_parameters()}
    for name, array in state.items():
        if name.startswith("features.") and array.ndim == 4:
            np.testing.assert_array_equal(loaded[name], array)
    fc6, fc7 = ("features.44", "features.47") if with_bn else ("features.31", "features.33")
    whole = state["classifier.0.weight"].reshape(64 * WIDTH, 8 * WIDTH, 7, 7)
    np.testing.assert_array_equal(loaded[f"{fc6}.weight"][5, 2, 1], whole[20, 2, 3, [0, 3, 6]])
    np.testing.assert_array_equal(loaded[f"{fc6}.bias"], state["classifier.0.bias"][::4])
    np.testing.assert_array_equal(loaded[f"{fc7}.weight"][7, 3], state["classifier.3.weight"][28, 12].reshape(1, 1))


def test_mindcvs_vgg16_has_no_biases_before_the_classifier(tmp_path):
    state = vgg_classifier(False)
    biases = [name for name in state if name.startswith("features.") and name.endswith(".bias")]
    np.savez(tmp_path / "vgg16.npz", **{name: array for name, array in state.items() if name not in biases})
    backbone = VGG16(WIDTH)
    load_pretrained_backbone(backbone, tmp_path / "vgg16.npz")
    loaded = {p.name: p.asnumpy() for p in backbone.get_parameters()}
    np.testing.assert_array_equal(loaded["features.0.weight"], state["features.0.weight"])
    np.testing.assert_array_equal(loaded["features.31.bias"], state["classifier.0.bias"][::4])
    assert len(biases) == 13 and not any(loaded[name].any() for name in biases)


def test_the_ports_reduced_vgg16_and_this_projects_checkpoints_are_backbones(tmp_path):
    config = narrow_config()
    whole = {name: array for name, array in WEIGHTS.items() if name.startswith("backbone.")}
    reduced = {name.removeprefix("backbone.features."): array for name, array in whole.items()}
    np.savez(tmp_path / "vgg16_reducedfc.npz", **reduced)
    save_weights(tmp_path / "trained.ckpt", WEIGHTS)
    np.savez(tmp_path / "port.npz", **STATE)
    for name in ("vgg16_reducedfc.npz", "trained.ckpt", "port.npz"):
        net = build_detector(config)
        load_pretrained_backbone(net.backbone, tmp_path / name)
        for parameter in net.backbone.get_parameters():
            np.testing.assert_array_equal(parameter.asnumpy(), whole[parameter.name])


def test_another_vgg_is_refused(tmp_path):
    state = vgg_classifier(False)
    np.savez(tmp_path / "vgg13.npz", **{name: array for name, array in state.items() if "features.14" not in name})
    with pytest.raises(UserError, match="is of another architecture: features.14.weight is missing"):
        load_pretrained_backbone(VGG16(WIDTH), tmp_path / "vgg13.npz")


def test_an_imagenet_resnet_is_a_backbone(tmp_path):
    published = published_names(random_weights(ResNet(50, base_channels=8)))
    np.savez(tmp_path / "resnet50.npz", **published, **{"fc.weight": np.zeros((1000, 256), np.float32)})
    narrow = {"backbone__depth": 50, "backbone__base_channels": 8, "neck__out_channels": 8}
    net = build_detector(config_of("refinedet_resnet101_320", **narrow))
    load_pretrained_backbone(net.backbone, tmp_path / "resnet50.npz")
    gamma = net.backbone.parameters_dict()["backbone.layer4.2.bn3.gamma"]
    np.testing.assert_array_equal(gamma.asnumpy(), published["layer4.2.bn3.weight"])
