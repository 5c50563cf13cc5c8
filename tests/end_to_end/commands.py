"""Run the project's commands as a user would, on networks and a data set that are as small as they can be."""

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# RetinaNet on one NAS-FPN cell, few filters and blocks, two images a step: it compiles in a third of SpineNet's time.
TINY_CONFIG = f"""
base: {ROOT}/configs/demo/nas_fpn.yaml
backbone: {{base_channels: 8, stage_blocks: [1, 1, 1, 1]}}
neck: {{nas_fpn: {{in_channels: [16, 32, 64], out_channels: 16, stack_times: 1}}}}
bbox_head: {{in_channels: 16, feat_channels: 16, stacked_convs: 1}}
device_target: CPU
batch_size: 2
base_batch_size: 2
test_batch_size: 4
lr: 0.002
epoch_size: 2
eval_every: 2
log_every: 1
log_format: timed
warmup_step: 4
run_eval: 0
prefix: train.mindrecord
eval_prefix: eval.mindrecord
"""

# Mask R-CNN with few filters, blocks, levels and RoIs: what takes time is compiling it.
TINY_MASK_CONFIG = f"""
base: {ROOT}/configs/demo/mask_rcnn.yaml
backbone: {{base_channels: 8, num_stages: 3, out_indices: [0, 1, 2], stage_blocks: [1, 1, 1], norm_eval: True}}
neck: {{fpn: {{in_channels: [8, 16, 32], out_channels: 16, num_outs: 3}}}}
rpn: {{in_channels: 16, feat_channels: 16, anchor_generator: {{strides: [4, 8, 16]}}}}
bbox_head: {{in_channels: 16, fc_out_channels: 32}}
mask_head: {{num_convs: 1, in_channels: 16, conv_out_channels: 16}}
roi: {{out_channels: 16, featmap_strides: [4, 8], sample_num: 16}}
mask_roi: {{out_channels: 16, featmap_strides: [4, 8], sample_num: 4}}
train_cfg:
  rpn: {{sampler: {{num: 32}}}}
  rpn_proposal: {{nms_pre: 40, max_per_img: 20}}
  rcnn: {{sampler: {{num: 16}}}}
test_cfg:
  rpn: {{nms_pre: 40, max_per_img: 20}}
  rcnn: {{score_thr: 0.01, max_per_img: 8}}
img_width: 64
img_height: 64
mask_crop_size: 32
aug_prob: 0.5
device_target: CPU
batch_size: 2
base_batch_size: 2
test_batch_size: 3
train_dataset_num: 4
log_every: 1
save_every: 1
keep_checkpoint_max: 5
warmup_step: 2
run_eval: 0
"""

# Over the file tiny_mask.yaml: two stages, whose boxes do not depend on the class.
TINY_CASCADE_CONFIG = """
base: tiny_mask.yaml
detector: cascade_mask_rcnn
bbox_head: {reg_class_agnostic: True}
cascade:
  num_stages: 2
  stage_loss_weights: [1.0, 0.5]
  pos_iou_thr: [0.5, 0.6]
  target_stds: [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1]]
epoch_size: 1
"""

# Batch normalization magnifies the rounding that differs between two runs; without it their losses stay comparable.
FROZEN_NORM = tuple(
    word for part in ("backbone", "neck.nas_fpn", "bbox_head") for word in (f"--{part}.norm_cfg.frozen", 1)
)


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **extra}


def start(program: str, *arguments: object, cwd: Path, **extra: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / program), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(program: str, *arguments: object, cwd: Path, expect: int = 0, **extra: str) -> tuple[str, str]:
    """(stdout, stderr) of a program that must end with exit code `expect`."""
    process = start(program, *arguments, cwd=cwd, **extra)
    out, err = process.communicate(timeout=600)
    assert process.returncode == expect, f"exit code {process.returncode}\n{out[-3000:]}\n{err[-3000:]}"
    assert expect == 0 or "Traceback" not in err, err
    return out, err


def logged(folder: Path, name: str = "loss", kind: str = "train") -> dict[int, float]:
    """{step: value} from a run's metrics.csv."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == kind and row["name"] == name]
    return {int(row["step"]): float(row["value"]) for row in rows}
