"""The entry points that outside code relies on: where they are, what they take, and that they work together."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import src.config
import src.engine
import src.models
import src.predictor
import src.weights
from src.engine import Updater
from tests.conftest import ROOT
from tests.end_to_end.commands import TINY_CONFIG

SIGNATURES = {
    src.predictor.Detector: "Detector(checkpoint, config=None, overrides=None)",
    src.config.load_config: "load_config(path, overrides=None)",
    src.models.build_detector: "build_detector(config)",
    src.weights.convert_weights: "convert_weights(state, config)",
    src.weights.load_weights: "load_weights(net, arrays)",
    src.weights.load_checkpoint_weights: "load_checkpoint_weights(path, averaged=True)",
    src.weights.save_weights: "save_weights(path, arrays, config=None)",
    src.engine.build_optimizer: "build_optimizer(config, parameters)",
    src.engine.Updater: (
        "Updater(net, optimizer, loss_scale=1.0, grad_clip=0.0, accumulate=1, world=1, rank=0, averages=None)"
    ),
}
METHODS = {
    "extract_features": "extract_features(images)",
    "dense_outputs": "dense_outputs(images)",
    "predict": "predict(images, image_info)",
    "losses": "losses(images, image_info, boxes, labels, valid, masks=None)",
}
PACKAGES = {
    src.predictor: {"Detector"},
    src.config: {"load_config"},
    src.models: {"build_detector"},
    src.weights: {"convert_weights", "load_weights", "load_checkpoint_weights", "save_weights"},
    src.engine: {"build_optimizer", "Updater"},
}


def shown(function, documented: str) -> str:
    """A call as the pages write it: as many arguments as `documented` has, then none that must be given."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    count = documented.count(",") + 1
    assert all(p.default is not p.empty for p in parameters[count:])
    arguments = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters[:count]]
    return f"{documented.partition('(')[0]}({', '.join(arguments)})"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_packages_offer_them(package) -> None:
    assert set(package.__all__) >= PACKAGES[package]


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__name__)
def test_they_take_what_the_pages_show(function) -> None:
    documented = SIGNATURES[function]
    assert shown(function, documented) == documented
    assert f"`{documented}`" in (ROOT / "docs/python.md").read_text()


def test_an_update_takes_what_the_pages_show() -> None:
    documented = "updater(batches, learning_rate, step=0)"
    assert shown(Updater.__call__, documented) == documented
    assert f"`{documented}`" in (ROOT / "docs/python.md").read_text()


def test_the_readme_names_them_all() -> None:
    text = (ROOT / "README.md").read_text()
    for name in (*(name for names in PACKAGES.values() for name in names), *METHODS):
        assert re.search(rf"`[^`]*\b{name}\(", text), name


def test_they_work_together_on_a_tiny_configuration(tmp_path: Path) -> None:
    """The example of the README, with weights that went through a conversion; then an update."""
    (tmp_path / "tiny.yaml").write_text(TINY_CONFIG)
    config = src.config.load_config(tmp_path / "tiny.yaml", {"test_cfg.score_thr": 0.001})
    net = src.models.build_detector(config)
    for name, documented in METHODS.items():
        assert shown(getattr(net, name), documented) == documented
    arrays = {name: parameter.asnumpy() + 0.0 for name, parameter in net.parameters_dict().items()}
    arrays["bbox_head.retina_cls.bias"] = np.linspace(-1, 1, len(arrays["bbox_head.retina_cls.bias"]), dtype=np.float32)
    src.weights.save_weights(tmp_path / "first.ckpt", src.weights.convert_weights(arrays, config), config)
    src.weights.load_weights(net, src.weights.load_checkpoint_weights(tmp_path / "first.ckpt"))
    np.testing.assert_array_equal(
        net.parameters_dict()["bbox_head.retina_cls.bias"].asnumpy(), arrays["bbox_head.retina_cls.bias"]
    )
    height, width = config.input_hw
    images = np.random.default_rng(0).normal(size=(2, 3, height, width)).astype(np.float32)
    image_info = np.array([[2 * height, 2 * width, height, width, 0.5, 0.5]] * 2, np.float32)
    net.set_train(False)
    found = net.predict(images, image_info)
    assert found.boxes.shape == (2, config.test_cfg.max_per_img, 4) and found.valid.any() and found.masks is None
    assert not net.training

    net.set_train(True)
    updater = Updater(net, src.engine.build_optimizer(config, net.trainable_params()), grad_clip=10.0)
    batch = {
        "image": images,
        "image_info": image_info,
        "boxes": np.array([[[16, 16, 64, 64]]] * 2, np.float32),
        "labels": np.zeros((2, 1), np.int32),
        "valid": np.ones((2, 1), bool),
    }
    losses = [updater([batch], 0.001, step).asnumpy() for step in range(3)]
    assert losses[0].shape == (len(net.loss_names),)
    assert sum(losses[-1]) < sum(losses[0])
