"""Curves of one or several trainings in one picture: loss and its terms, AP, learning rate.

    python tools/plot_log.py outputs/first outputs/second --output curves.png
    python tools/plot_log.py outputs/* --output curves.png --metrics loss bbox_mAP --names "lr 0.01" "lr 0.02"

Each run is its folder (train_outputs/brief) or its metrics.csv; a running training can be looked at, too.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.errors import UserError
from src.common.program import run_command


def main() -> None:
    """Read the arguments, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="folders of trainings, or their metrics.csv")
    parser.add_argument("--output", required=True, help="picture to write (.png, .svg, .pdf, .jpg)")
    parser.add_argument("--metrics", nargs="+", default=[], help="what to draw (default: loss, AP, lr, loss terms)")
    parser.add_argument("--names", nargs="+", help="a name each run (default: that of its folder)")
    parser.add_argument("--x", choices=("step", "epoch"), default="step", help="horizontal axis (default: step)")
    args = parser.parse_args()
    from src.visual.run_curves import compare_runs, read_run, summary_table

    if args.names and len(args.names) != len(args.runs):
        raise UserError(f"--names: {len(args.names)} names for {len(args.runs)} runs; give one each")
    runs = [read_run(path, name) for path, name in zip(args.runs, args.names or [None] * len(args.runs), strict=True)]
    compare_runs(runs, args.output, args.metrics, args.x == "epoch")
    print(f"{summary_table(runs)}\n{args.output}")


if __name__ == "__main__":
    run_command(main)
