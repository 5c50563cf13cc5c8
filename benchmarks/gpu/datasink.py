"""Train a small detector with and without datasink: the same losses, and the time of a step; run_all.sh runs it.

Two trainings by train.py on synthetic images, the demo of NAS-FPN at a low learning rate: the first losses must agree
to 1e-3, and all be finite. Later ones part as rounding does, since a GPU adds in any order.

python benchmarks/gpu/datasink.py --device GPU
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from cases import report

ROOT = Path(__file__).resolve().parents[2]
COMPARED = 5  # losses that must agree
TOLERANCE = 1e-3
BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("GPU", "Ascend", "CPU"), default="GPU")
    parser.add_argument("--steps", type=int, default=24, help="of an epoch; there are two")
    parser.add_argument("--sink_size", type=int, default=10)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        run("-m", "src.data.synthetic", "--output_dir", data, "--train", args.steps * BATCH, "--val", 1)
        single, single_ms = train(Path(folder), args, datasink=0)
        sunk, sunk_ms = train(Path(folder), args, datasink=1)
    difference = np.abs(sunk - single) / np.maximum(np.abs(single), 1e-12)
    report(
        step_s=round(sunk_ms / 1000, 5),
        single_step_s=round(single_ms / 1000, 5),
        losses=len(sunk),
        first_difference=float(difference[:COMPARED].max()),
        largest_difference=float(difference.max()),
        loss=float(sunk[-1]),
    )
    if not (np.isfinite(difference).all() and difference[:COMPARED].max() < TOLERANCE):
        raise SystemExit(f"the losses differ: {single[:COMPARED]} taken singly, {sunk[:COMPARED]} sunk")


def train(folder: Path, args: argparse.Namespace, datasink: int) -> tuple[np.ndarray, float]:
    """(losses of all steps, milliseconds per step in the second epoch) of a training."""
    keys = {
        "config_path": ROOT / "configs/demo/nas_fpn.yaml", "device_target": args.device, "datasink": datasink,
        "sink_size": args.sink_size, "train_dataset": folder / "data/train", "train_outputs": folder,
        "brief": f"datasink_{datasink}", "batch_size": BATCH, "epoch_size": 2, "run_eval": 0, "log_every": 1,
        "log_format": "timed", "num_parallel_workers": 2, "lr": 0.0001,
    }  # fmt: skip
    shown = run("train.py", *(word for name, value in keys.items() for word in (f"--{name}", value)))
    if args.device != "CPU" and ("steps are sunk" in shown) != bool(datasink):
        raise SystemExit("the log does not say that steps are sunk")
    with (folder / f"datasink_{datasink}/metrics.csv").open(newline="") as file:
        losses = [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "loss"]
    return np.array(losses), float(re.findall(r"per step time: ([\d.]+) ms", shown)[-1])


def run(*arguments: object) -> str:
    """What a program of this project prints; it is shown as well."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    print(done.stdout, flush=True)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} {arguments[1]} failed ({done.returncode})")
    return done.stdout


if __name__ == "__main__":
    main()
