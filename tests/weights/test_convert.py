"""Published weights to checkpoints."""

import logging
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from safetensors.numpy import save_file

from src.common.errors import UserError
from src.config import load_config
from src.models import build_detector
from src.weights.checkpoint import load_checkpoint_weights, load_weights
from src.weights.convert import convert_weights, read_state
from tests.blocks import oracle

ROOT = Path(__file__).parents[2]
CONFIG_PATH = ROOT / "configs" / "spinenet_retinanet" / "retinanet_spinenet_49s_640.yaml"
CONFIG = load_config(CONFIG_PATH)
TO_PUBLISHED = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def published_detector() -> dict[str, np.ndarray]:
    """The PyTorch port's state dict of SpineNet-49S RetinaNet, shared convolutions once a level as it has them."""
    state = {f"backbone.{k}": v for k, v in oracle.published_state("spinenet_49S", 20253).items()}
    rng = np.random.default_rng(0)
    for parameter in build_detector(CONFIG).bbox_head.get_parameters():
        name = "bbox_head." + parameter.name.removeprefix("bbox_head.")
        module, _, leaf = name.rpartition(".")
        array = rng.normal(size=parameter.shape).astype(np.float32)
        state[f"{module}.{TO_PUBLISHED.get(leaf, leaf)}"] = array
        if "_convs.0." in name and leaf == "weight" and module.endswith(".conv"):
            for level in range(1, 5):
                state[f"{module.replace('_convs.0.', f'_convs.{level}.')}.weight"] = array
        if leaf == "moving_mean":
            state[f"{module}.num_batches_tracked"] = np.array(7)
    return state


STATE = published_detector()


def test_a_detectors_weights_fill_the_whole_network(caplog):
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights(STATE, CONFIG)
    assert not caplog.records
    net = build_detector(CONFIG)
    load_weights(net, arrays)
    parameters = net.parameters_dict()
    for ours, published in {
        "backbone.conv1.bn.moving_variance": "backbone.conv1.bn.running_var",
        "backbone.init_block1.0.downsample.1.gamma": "backbone.init_block1.0.downsample.1.weight",
        "backbone.init_block1.0.downsample.0.weight": "backbone.init_block1.0.downsample.0.weight",
        "bbox_head.cls_convs.3.2.bn.beta": "bbox_head.cls_convs.3.2.bn.bias",
        "bbox_head.reg_convs.0.3.conv.weight": "bbox_head.reg_convs.4.3.conv.weight",
        "bbox_head.retina_cls.bias": "bbox_head.retina_cls.bias",
    }.items():
        np.testing.assert_array_equal(parameters[ours].asnumpy(), STATE[published])


def test_converted_weights_give_the_ports_features():
    expected = oracle.arrays("spinenet")
    net = build_detector(CONFIG).set_train(False)
    load_weights(net, convert_weights(STATE, CONFIG))
    for level, feature in enumerate(net.extract_features(ms.Tensor(expected["x"].astype(np.float32))), start=3):
        assert oracle.relative_error(expected, f"49S/P{level}", feature) < 1e-3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "meta": {"epoch": 3}},
        lambda state: {"model": {f"module.{name}": array for name, array in state.items()}},
    ],
)
def test_checkpoints_around_the_weights(wrap):
    arrays = convert_weights(wrap(STATE), CONFIG)
    assert arrays.keys() == convert_weights(STATE, CONFIG).keys()


def test_a_bare_backbone_and_what_has_no_place_are_reported(caplog):
    state = oracle.published_state("spinenet_49S", 20253) | {"fc.weight": np.zeros((10, 4), np.float32)}
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights(state, CONFIG)
    assert len(arrays) == len(state) - 1 and all(name.startswith("backbone.") for name in arrays)
    assert "1 entries have no place in this network: backbone.fc.weight" in caplog.text
    assert "parameters keep their initial values: bbox_head." in caplog.text


def test_another_number_of_classes_is_one_clear_error():
    state = STATE | {
        "bbox_head.retina_cls.bias": np.zeros(90 * 9),
        "bbox_head.retina_cls.weight": np.zeros((810, 128, 3, 3)),
    }
    with pytest.raises(UserError, match=r"predict 90 classes, the configuration 80 \(num_classes 81.*finetune"):
        convert_weights(state, CONFIG)


def test_another_architecture_is_an_error():
    state = oracle.published_state("spinenet_49", 20253)
    with pytest.raises(UserError, match="another architecture.*backbone.init_block1.0.conv1.weight is"):
        convert_weights(state, CONFIG)


def test_weights_of_another_model_are_an_error():
    with pytest.raises(UserError, match="no weight has a name of this network.*backbone.layer1"):
        convert_weights({"layer1.0.conv1.weight": np.zeros((1, 1, 1, 1))}, CONFIG)


def test_a_head_that_does_not_share_its_convolutions_is_an_error():
    state = STATE | {"bbox_head.cls_convs.2.1.conv.weight": STATE["bbox_head.cls_convs.2.1.conv.weight"] + 1}
    with pytest.raises(UserError, match="bbox_head.cls_convs.2.1.conv.weight differs from level 0's"):
        convert_weights(state, CONFIG)


def test_files(tmp_path):
    state = {"conv1.conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
    save_file(state, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **state)
    for name in ("a.safetensors", "a.npz"):
        np.testing.assert_array_equal(read_state(tmp_path / name)["conv1.conv.weight"], state["conv1.conv.weight"])


def test_torch_files(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"state_dict": {"a.weight": torch.ones(2, dtype=torch.bfloat16)}}, tmp_path / "a.pth")
    assert float(read_state(tmp_path / "a.pth")["state_dict"]["a.weight"].float().sum()) == 2


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.npz"])
def test_damaged_files(name, tmp_path):
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(UserError, match=f"{name}: (damaged|reading it needs PyTorch)"):
        read_state(tmp_path / name)


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(UserError, match=r"b\.npz does not exist"):
        read_state(tmp_path / "b.npz")
    with pytest.raises(UserError, match=r"\.pth, \.pt, \.safetensors, \.npz files, not \.h5"):
        read_state(tmp_path / "b.h5")


def run_command(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "convert_weights.py"), "--config_path", str(CONFIG_PATH), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_command(tmp_path):
    np.savez(tmp_path / "weights.npz", **STATE)
    result = run_command("--source_file", str(tmp_path / "weights.npz"), "--output_file", str(tmp_path / "o.ckpt"))
    assert result.returncode == 0, result.stderr
    assert f"wrote {len(build_detector(CONFIG).parameters_dict())} parameters" in result.stdout
    saved = load_checkpoint_weights(tmp_path / "o.ckpt")
    load_weights(build_detector(CONFIG), saved)
    np.testing.assert_array_equal(saved["bbox_head.retina_cls.bias"], STATE["bbox_head.retina_cls.bias"])


def test_the_commands_mistakes():
    result = run_command("--source_file", "x.npz")
    assert result.returncode == 2 and result.stderr.startswith("error: --output_file is missing")
    result = run_command("--source_file", "x.npz", "--output_file", "o.pth")
    assert result.returncode == 2 and "ends in .ckpt" in result.stderr
    result = run_command("--source_file", "x.npz", "--output_file", "o.ckpt")
    assert result.returncode == 2 and "x.npz does not exist" in result.stderr
