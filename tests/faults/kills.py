r"""Trainings that are killed at random moments, again and again, until they have come to their end.

    python -m tests.faults.kills --number 10 --seed 0

Each training is started, and resumed after each SIGKILL, until it ends by itself. Then it must have logged the losses
of a training that nobody disturbed, each step and each evaluation once; its checkpoints must be readable; no file of
a killed writer may stay. Exit code 1 when one does not. The suite kills one training once
(tests/end_to_end/test_training.py); this is the long form.
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from src.weights.checkpoint import load_checkpoint_weights
from tests.end_to_end.commands import FROZEN_NORM, TINY_CONFIG, logged, run, start

MOST_KILLS = 8  # of one training; the last start is left alone
ARGUMENTS = ("--run_eval", 1, "--eval_every", 1, "--save_every", 2, "--ema_decay", 0.9, *FROZEN_NORM)


def main() -> int:
    """Kill as many trainings as asked for, say what became of each, and how often it was killed where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=10, help="trainings (10)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = _experiment(folder)
        begin = time.monotonic()
        run("train.py", "--config_path", config, "--brief", "whole", *ARGUMENTS, cwd=folder)
        seconds = time.monotonic() - begin
        places: Counter[str] = Counter()
        failures = 0
        for number in range(options.number):
            brief = f"killed_{number}"
            places.update(_train_under_fire(config, brief, seconds, rng))
            problems = differences(folder / "out/whole", folder / "out" / brief)
            failures += bool(problems)
            print(f"{brief}: {'; '.join(problems) or 'as if nothing had happened'}", flush=True)
    killed = ", ".join(f"{count} {place}" for place, count in places.most_common())
    print(f"{options.number} trainings, {places.total()} kills ({killed}): {failures} differ from the undisturbed one")
    return 1 if failures else 0


def _experiment(folder: Path) -> Path:
    sizes = ("--train", "24", "--val", "6", "--image_size", "128", "--classes", "4")
    command = [sys.executable, "-m", "src.data.synthetic", "--output_dir", str(folder / "data"), *sizes]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True, stdout=subprocess.DEVNULL)
    config = folder / "tiny.yaml"
    data = f"train_dataset: {folder}/data/train\nval_dataset: {folder}/data/validation\ntrain_outputs: {folder}/out\n"
    config.write_text(TINY_CONFIG + data)
    return config


def _train_under_fire(config: Path, brief: str, seconds: float, rng: random.Random) -> list[str]:
    """Where the kills came: in which epoch's training or evaluation, as the last line of the log tells."""
    places = []
    folder = config.parent / "out" / brief
    for attempt in range(MOST_KILLS + 1):
        resume = ("--resume", 1) if (folder / "checkpoints/last.ckpt").exists() else ()
        process = start("train.py", "--config_path", config, "--brief", brief, *ARGUMENTS, *resume, cwd=config.parent)
        try:
            patience = rng.uniform(0.1, 1.1) * seconds if attempt < MOST_KILLS else 100 * seconds
            process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            places.append(_place(folder))
            continue
        if process.returncode:
            places.append(f"ended with exit code {process.returncode}")
        return places
    return places


def _place(folder: Path) -> str:
    log = folder / "train.log"
    last = log.read_text().splitlines()[-1] if log.is_file() and log.stat().st_size else ""
    if "step: 12," in last:
        return "after an epoch's last step"
    return "between steps" if ", step: " in last else "before a first step or after an evaluation"


def differences(whole: Path, killed: Path) -> list[str]:
    """What a training that was killed shows that an undisturbed one does not; empty: nothing."""
    problems = []
    expected, found = logged(whole), logged(killed)
    if list(found) != list(expected):
        problems.append(f"steps {list(found)} instead of {list(expected)}")
    elif not np.allclose(list(found.values()), list(expected.values()), rtol=1e-3):
        problems.append(f"losses {found} instead of {expected}")
    with (killed / "metrics.csv").open(newline="") as file:
        rows = Counter((row["kind"], row["step"], row["name"]) for row in csv.DictReader(file))
    problems += [f"{count} x {row}" for row, count in rows.items() if count > 1]
    if logged(killed, "bbox_mAP", "eval").keys() != logged(whole, "bbox_mAP", "eval").keys():
        problems.append("evaluations are missing")
    for name in ("last.ckpt", "best.ckpt"):
        load_checkpoint_weights(killed / "checkpoints" / name)
    left = [path.name for path in killed.rglob(".*") if path.name != ".lock"]
    return problems + [f"left behind: {name}" for name in left]


if __name__ == "__main__":
    sys.exit(main())
