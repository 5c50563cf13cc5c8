"""Run the project's commands as a user would, on a network and a data set that are as small as they can be."""

import csv
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# SpineNet with a tenth of the filters; two images a step.
TINY_CONFIG = f"""
base: {ROOT}/configs/demo/spinenet_retinanet.yaml
backbone: {{width: 0.1, out_channels: 16}}
bbox_head: {{in_channels: 16, feat_channels: 16, stacked_convs: 1}}
device_target: CPU
batch_size: 2
base_batch_size: 2
test_batch_size: 4
lr: 0.002
epoch_size: 2
eval_every: 2
log_every: 1
warmup_step: 4
run_eval: 0
"""

# Batch normalization magnifies the rounding that differs between two runs; without it their losses stay comparable.
FROZEN_NORM = ("--backbone.norm_cfg.frozen", 1, "--bbox_head.norm_cfg.frozen", 1)


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
    with open(folder / "metrics.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == kind and row["name"] == name]
    return {int(row["step"]): float(row["value"]) for row in rows}
