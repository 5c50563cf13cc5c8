"""What InstaBoost does to AP when training images are few: the same small trainings with and without it.

    python benchmarks/instaboost_ap.py --images 150 --seeds 3 --epochs 40 --output_dir /tmp/instaboost_ap

Trains configs/demo/mask_rcnn.yaml on the first images of the synthetic data for each seed and each setting, evaluates
the last epoch on 200 held-out images, and prints box and mask AP with their means.
"""

import argparse
import csv
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = {"without": ["--aug_prob", "0"], "with": ["--aug_prob", "0.5"]}
METRICS = ("bbox_mAP", "segm_mAP")


def main() -> None:
    """Train everything, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=150, help="training images")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each setting")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--output_dir", type=Path, required=True)
    arguments = parser.parse_args()
    data = arguments.output_dir / "data"
    run(
        "-m", "src.data.synthetic", "--output_dir", data, "--train", arguments.images, "--val", 200, "--image_size", 128
    )
    results: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
    for seed in range(1, arguments.seeds + 1):
        for setting, options in SETTINGS.items():
            results[setting].append(trained(arguments, data, seed, setting, options))
            print(f"seed {seed}, {setting} InstaBoost: {results[setting][-1]}", flush=True)
    print(f"\n| {arguments.images} images, {arguments.epochs} epochs | {' | '.join(METRICS)} |\n|---|---|---|")
    for setting, found in results.items():
        columns = [shown([values[name] for values in found]) for name in METRICS]
        print(f"| {setting} InstaBoost | {' | '.join(columns)} |")


def trained(arguments: argparse.Namespace, data: Path, seed: int, setting: str, options: list[str]) -> dict[str, float]:
    """The last epoch's metrics of one training."""
    brief = f"{setting}_{seed}"
    run(
        *("train.py", "--config_path", "configs/demo/mask_rcnn.yaml", "--train_outputs", arguments.output_dir),
        *("--brief", brief, "--seed", seed, "--train_dataset", data / "train", "--val_dataset", data / "validation"),
        *("--epoch_size", arguments.epochs, "--eval_every", arguments.epochs, "--batch_size", arguments.batch_size),
        *("--lr", 0.001, "--base_batch_size", arguments.batch_size, *options),
    )
    with (arguments.output_dir / brief / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "eval" and row["name"] in METRICS]
    return {row["name"]: float(row["value"]) for row in rows}


def shown(values: list[float]) -> str:
    """Mean, and the values."""
    return f"{statistics.mean(values):.3f} ({', '.join(f'{value:.3f}' for value in values)})"


def run(*command) -> None:
    """A command of this project's Python, which must succeed."""
    subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
