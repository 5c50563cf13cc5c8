r"""Rewrite a data set in another format: from any that can be read to COCO, YOLO, Pascal VOC, labelme or FiftyOne.

    python convert_dataset.py --from voc --to coco --data VOCdevkit --output_dir my_coco
    python convert_dataset.py --from yolo --to labelme --train_dataset a/data.yaml --output_dir my_labelme

--data is one folder with both splits; --train_dataset and --val_dataset name them apart, as the keys of a configuration
do. Images are linked, or copied with --images copy. What the new format cannot hold is reported.
"""

import argparse

from src.common.program import run_command


def main() -> None:
    """Read the arguments, then convert."""
    from src.commands.open_data import add_data_arguments, check_data_arguments, data_of_arguments, evaluation_path
    from src.data.writers.table import WRITERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_arguments(parser)
    parser.add_argument("--to", dest="target", choices=tuple(WRITERS), required=True, help="format to write")
    parser.add_argument("--output_dir", required=True, help="folder for the new data set")
    parser.add_argument("--images", choices=("link", "copy"), default="link", help="links (default) or copies")
    parser.add_argument("--overwrite", type=int, choices=(0, 1), default=0, help="1: write into a folder with content")
    args = parser.parse_args()
    check_data_arguments(args)
    from src.commands.convert_dataset import convert_dataset

    config = data_of_arguments(args)
    config.val_dataset = args.val_dataset or evaluation_path(config, args.data)
    for name, path in convert_dataset(config, args.target, args.output_dir, args.images, args.overwrite == 1).items():
        print(f"--dataset {args.target} --{name}_dataset {path}")


if __name__ == "__main__":
    run_command(main)
