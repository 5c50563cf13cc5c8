"""mmdetection's weights of RetinaNet with NAS-FPN."""

import json
import logging
import subprocess
import sys

import numpy as np
import pytest

from src.common.errors import UserError
from src.config import load_config
from src.models import build_detector
from src.schema import Config
from src.weights.checkpoint import load_checkpoint_weights
from src.weights.convert import convert_weights
from tests.blocks import oracle
from tests.conftest import ROOT
from tests.weights.published_mask_rcnn import published_names

CONFIG_PATH = ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640_50e.yaml"
NARROW = {
    "backbone.base_channels": 4,
    "neck.nas_fpn.in_channels": [32, 64, 128],
    "neck.nas_fpn.out_channels": 8,
    "bbox_head.in_channels": 8,
    "bbox_head.feat_channels": 8,
}
SPEC = json.loads((oracle.FOLDER / "params_retina_nasfpn.json").read_text())


def narrow(**overrides) -> Config:
    return load_config(CONFIG_PATH, NARROW | overrides)


def published_state(config: Config) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Random weights by our names, and as mmdetection's checkpoint has them: shared convolutions once a level."""
    rng = np.random.default_rng(0)
    weights = {
        p.name: rng.uniform(0.5, 1.5, p.shape).astype(np.float32) for p in build_detector(config).get_parameters()
    }
    state = published_names(weights)
    state |= {alias: state[name] for alias, name in SPEC["aliases"].items()}
    norms = [name for name in state if name.endswith("running_mean")]
    state |= {name.replace("running_mean", "num_batches_tracked"): np.array(3) for name in norms}
    return weights, state


CONFIG = narrow()
WEIGHTS, STATE = published_state(CONFIG)


def test_mmdetections_names_fill_the_whole_network(caplog):
    published = {name for name, _ in SPEC["params"]} | set(SPEC["aliases"])
    assert {name for name in STATE if "num_batches" not in name} == published
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights({"meta": {"epoch": 50}, "state_dict": STATE}, CONFIG)
    assert not caplog.records
    assert arrays.keys() == WEIGHTS.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, WEIGHTS[name], err_msg=name)


def test_the_command(tmp_path):
    np.savez(tmp_path / "published.npz", **STATE)
    (tmp_path / "narrow.yaml").write_text(
        f"base: {CONFIG_PATH}\nbackbone: {{base_channels: 4}}\nbbox_head: {{in_channels: 8, feat_channels: 8}}\n"
        "neck: {nas_fpn: {in_channels: [32, 64, 128], out_channels: 8}}\n"
    )
    command = [sys.executable, "convert_weights.py", "--config_path", tmp_path / "narrow.yaml", "--source_file"]
    command += [tmp_path / "published.npz", "--output_file", tmp_path / "converted.ckpt"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    converted = load_checkpoint_weights(tmp_path / "converted.ckpt")
    assert converted.keys() == WEIGHTS.keys()
    np.testing.assert_array_equal(
        converted["neck.fpn_stages.6.gp_75_6.out_conv.conv.bias"],
        STATE["neck.fpn_stages.6.gp_75_6.out_conv.conv.bias"],
    )


def test_other_networks_are_an_error():
    with pytest.raises(UserError, match=r"predict 80 classes, the configuration 3 \(num_classes 4"):
        names = ["background", "a", "b", "c"]
        convert_weights(STATE, narrow(coco_classes=names, num_classes=4, category_ids=[]))
    with pytest.raises(UserError, match="of another architecture"):
        convert_weights(STATE, narrow(**{"neck.nas_fpn.out_channels": 16, "bbox_head.in_channels": 16}))


def test_fewer_cells_leave_the_others_out(caplog):
    with caplog.at_level(logging.WARNING):
        arrays = convert_weights(STATE, narrow(nasfpn_stack_times=5))
    assert "entries have no place in this network: neck.fpn_stages.5.gp_64_4" in caplog.text
    assert "neck.fpn_stages.4.gp_64_4.out_conv.conv.weight" in arrays
