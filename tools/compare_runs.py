r"""Two runs on the same images: AP of each class, which objects one of them alone finds, and the images in question.

    python tools/compare_runs.py outputs/first/predictions.json outputs/second/predictions.json \
        --annotations data/shapes/validation --output_dir outputs/comparison

The predictions are those that eval.py or infer.py wrote. Prints tables, and writes them as a web page with the images
that differ most. Objects are found by detections from the score where a run's mean F1 is greatest, at IoU 0.5.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.program import run_command


def main() -> None:
    """Read the arguments, then compare."""
    from src.commands.open_data import add_data_arguments, evaluation_data

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", nargs=2, metavar="PREDICTIONS", help="JSON of eval.py or infer.py")
    add_data_arguments(parser, alone="--annotations")
    parser.add_argument("--output_dir", required=True, help="folder for index.html and its pictures")
    args = parser.parse_args()
    from src.commands.compare_runs import compare_runs

    dataset = evaluation_data(args.source, args.annotations, args.image_dir, args.classes)
    compare_runs(args.predictions, dataset, args.output_dir)


if __name__ == "__main__":
    run_command(main)
