r"""Rewrite a data set in another format: from any that can be read to COCO, YOLO, Pascal VOC or labelme.

    python convert_dataset.py --from voc --to coco --data VOCdevkit --output_dir my_coco
    python convert_dataset.py --from yolo --to labelme --train_dataset a/data.yaml --output_dir my_labelme

--data is one folder with both splits; --train_dataset and --val_dataset name them apart, as the keys of a configuration
do. Images are linked, or copied with --images copy. What the new format cannot hold is reported.
"""

import argparse

from src.common.errors import UserError
from src.common.program import run_command


def main() -> None:
    """Read the arguments, then convert."""
    from src.data.formats.table import FORMATS
    from src.data.writers.table import WRITERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    formats = ("auto", *FORMATS)
    parser.add_argument(
        "--from", dest="source", choices=formats, default="auto", help="auto: what the folder looks like"
    )
    parser.add_argument("--to", dest="target", choices=tuple(WRITERS), required=True, help="format to write")
    parser.add_argument("--data", default="", help="folder with training and evaluation data, or file")
    parser.add_argument("--train_dataset", default="", help="training data, in place of --data")
    parser.add_argument("--val_dataset", default="", help="evaluation data, in place of --data")
    parser.add_argument("--image_dir", default="", help="folder of the images; default: as the annotations say")
    parser.add_argument("--classes", default="", help="class names, comma-separated; default: those of the data")
    parser.add_argument("--output_dir", required=True, help="folder for the new data set")
    parser.add_argument("--images", choices=("link", "copy"), default="link", help="links (default) or copies")
    parser.add_argument("--overwrite", type=int, choices=(0, 1), default=0, help="1: write into a folder with content")
    args = parser.parse_args()
    train = args.train_dataset or args.data
    if not train:
        raise UserError("--data is missing; give the folder of the data set, or --train_dataset")
    from src.commands.convert_dataset import convert_dataset
    from src.commands.open_data import data_config, evaluation_path

    config = data_config(args.source, train, args.val_dataset, args.image_dir, args.classes)
    config.val_dataset = args.val_dataset or evaluation_path(config, args.data)
    for name, path in convert_dataset(config, args.target, args.output_dir, args.images, args.overwrite == 1).items():
        print(f"--dataset {args.target} --{name}_dataset {path}")


if __name__ == "__main__":
    run_command(main)
