"""A published recipe trains: its schedule and augmentation, on a network and images that are small."""

import math
from pathlib import Path

import pytest

from tests.data.coco_files import NAMES, write_dataset
from tests.end_to_end.commands import ROOT, logged, run

SMALL_NETWORK = f"""
base: {ROOT}/configs/nas_fpn/retinanet_r50_nasfpn_640_50e.yaml
backbone: {{depth: 18, base_channels: 8, stage_blocks: [1, 1, 1, 1]}}
neck: {{nas_fpn: {{in_channels: [16, 32, 64], out_channels: 16, stack_times: 1}}}}
bbox_head: {{in_channels: 16, feat_channels: 16, stacked_convs: 1}}
coco_classes: [background, {", ".join(NAMES)}]
num_classes: 4
img_width: 128
img_height: 128
batch_size: 2
epoch_size: 2
run_eval: 0
log_every: 1
"""


@pytest.mark.end_to_end
def test_nas_fpns_recipe_trains_a_few_steps(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL_NETWORK)
    write_dataset(tmp_path / "images", 6, height=150, width=220)
    arguments = ("--config_path", "small.yaml", "--train_dataset", "images", "--val_dataset", "images")
    run("train.py", *arguments, "--train_outputs", "out", "--brief", "recipe", "--device_target", "CPU", cwd=tmp_path)
    losses, rates = (logged(tmp_path / "out/recipe", name) for name in ("loss", "lr"))
    assert list(losses) == [1, 2, 3, 4, 5, 6] and all(map(math.isfinite, losses.values()))
    expected = [0.08 * (0.1 + 0.9 * step / 1000) for step in range(6)]
    assert list(rates.values()) == pytest.approx(expected, rel=1e-4)
