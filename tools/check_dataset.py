r"""What would a training stumble over? One report on a data set, on the terminal and as a web page with pictures.

    python tools/check_dataset.py --data data/shapes --output_dir report
    python tools/check_dataset.py --train_dataset a/data.yaml --val_dataset a/data.yaml --from yolo \
        --output_dir report --config_path configs/demo/refinedet.yaml

Counts per class and size, images that are broken or there twice (in training and evaluation data, too), boxes outside
or tiny, classes of one part alone, aspect ratios, and suggested num_gts, image size and anchors; with --config_path how
that network's anchors would fit better. Every image is decoded.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.program import run_command


def main() -> None:
    """Read the arguments, then look at the data."""
    from src.commands.open_data import add_data_arguments, check_data_arguments, data_of_arguments, evaluation_path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_arguments(parser)
    parser.add_argument("--config_path", default="", help="experiment whose anchors to compare with the objects")
    parser.add_argument("--output_dir", required=True, help="folder for index.html and its pictures")
    args = parser.parse_args()
    check_data_arguments(args)
    from src.commands.check_dataset import check_dataset
    from src.config import load_config

    data = data_of_arguments(args)
    data.val_dataset = args.val_dataset or evaluation_path(data, args.data)
    names = {"coco_classes": data.coco_classes, "num_classes": data.num_classes, "category_ids": []}
    check_dataset(data, args.output_dir, load_config(args.config_path, names) if args.config_path else None)


if __name__ == "__main__":
    run_command(main)
