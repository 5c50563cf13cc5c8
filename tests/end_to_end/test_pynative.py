"""`mode: pynative` trains every detector."""

from pathlib import Path

import pytest

from tests.end_to_end.commands import ROOT, TINY_CASCADE_CONFIG, TINY_CONFIG, TINY_MASK_CONFIG, logged, run

# As in published configurations, the neck has one level more than the backbone.
TINY_MASK_CONFIG_WITH_FURTHER_LEVEL = (
    TINY_MASK_CONFIG.replace("num_outs: 3", "num_outs: 4").replace("strides: [4, 8, 16]", "strides: [4, 8, 16, 32]")
    + "epoch_size: 1\n"
)
TINY_REFINEDET_CONFIG = f"""
base: {ROOT}/configs/demo/refinedet.yaml
backbone: {{base_channels: 8, stage_blocks: [1, 1, 1, 1]}}
neck: {{out_channels: 16}}
"""
TINY_SPINENET_CONFIG = f"""
base: {ROOT}/configs/demo/spinenet_retinanet.yaml
backbone: {{width: 0.1, out_channels: 16}}
bbox_head: {{in_channels: 16, feat_channels: 16, stacked_convs: 1}}
"""
CONFIGS = {
    "retinanet_nas_fpn": TINY_CONFIG,
    "retinanet_spinenet": TINY_SPINENET_CONFIG,
    "mask_rcnn": TINY_MASK_CONFIG_WITH_FURTHER_LEVEL,
    "cascade_mask_rcnn": TINY_CASCADE_CONFIG,
    "refinedet": TINY_REFINEDET_CONFIG,
}
TWO_STEPS = {
    "device_target": "CPU", "batch_size": 2, "train_dataset_num": 4, "epoch_size": 1, "log_every": 1, "run_eval": 0,
    "save_every": 0,
}  # fmt: skip


def losses_of_two_steps(name: str, mode: str, folder: Path, shapes: Path) -> list[float]:
    (folder / "tiny_mask.yaml").write_text(TINY_MASK_CONFIG_WITH_FURTHER_LEVEL)
    (folder / "tiny.yaml").write_text(CONFIGS[name])
    keys = [word for key, value in TWO_STEPS.items() for word in (f"--{key}", value)]
    places = ("--train_dataset", f"{shapes}/train", "--train_outputs", folder, "--brief", mode)
    run("train.py", "--config_path", "tiny.yaml", *keys, *places, "--mode", mode, cwd=folder)
    losses = logged(folder / mode)
    assert sorted(losses) == [1, 2]
    return [losses[1], losses[2]]


@pytest.mark.parametrize("name", sorted(CONFIGS.keys() - {"mask_rcnn"}))
def test_detectors_train(name: str, tmp_path: Path, shapes: Path) -> None:
    first, second = losses_of_two_steps(name, "pynative", tmp_path, shapes)
    assert first != second


def test_mask_rcnn_trains_with_the_losses_of_graph_mode(tmp_path: Path, shapes: Path) -> None:
    """The second loss depends on the gradients of the first step."""
    pynative, graph = (losses_of_two_steps("mask_rcnn", mode, tmp_path, shapes) for mode in ("pynative", "graph"))
    assert pynative[0] != pynative[1]
    assert pynative == pytest.approx(graph, rel=1e-5)
