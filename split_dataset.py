r"""Divide a data set into training and evaluation data.

    python split_dataset.py --data my_pictures --output_dir my_data
    python split_dataset.py --data my_pictures --output_dir my_data --by folder --val_fraction 0.1 --seed 7
    python split_dataset.py --data my_pictures --output_dir my_data --val_list val.txt --to yolo

--by class gives each class about the same share in both; --by folder keeps images of one folder together; --val_list
names the evaluation images, one per line. Reads any format, writes COCO's JSON or another (--to). Images are linked, or
copied with --images copy. The same seed divides in the same way.
"""

import argparse

from src.common.errors import UserError
from src.common.program import run_command


def main() -> None:
    """Read the arguments, then divide."""
    from src.commands.open_data import add_data_arguments, data_config
    from src.data.writers.table import WRITERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_arguments(parser, alone="--data")
    parser.add_argument("--to", dest="target", choices=tuple(WRITERS), default="coco", help="format to write (coco)")
    parser.add_argument("--output_dir", required=True, help="folder for both parts")
    parser.add_argument("--by", choices=("class", "folder"), default="class", help="what is kept even, or together")
    parser.add_argument("--val_fraction", type=float, default=0.2, help="share of the evaluation images (0.2)")
    parser.add_argument("--val_list", default="", help="text file with the evaluation images, in place of a share")
    parser.add_argument("--seed", type=int, default=1, help="of what is random (1)")
    parser.add_argument("--images", choices=("link", "copy"), default="link", help="links (default) or copies")
    parser.add_argument("--overwrite", type=int, choices=(0, 1), default=0, help="1: write into a folder with content")
    args = parser.parse_args()
    if not 0 < args.val_fraction < 1:
        raise UserError(f"--val_fraction {args.val_fraction}: must be between 0 and 1")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must not be negative")
    from src.commands.split_dataset import split_dataset

    written = split_dataset(
        data_config(args.source, args.data, "", args.image_dir, args.classes),
        args.target,
        args.output_dir,
        args.by,
        args.val_fraction,
        args.seed,
        args.val_list,
        args.images,
        args.overwrite == 1,
    )
    for name, path in written.items():
        print(f"--dataset {args.target} --{name}_dataset {path}")


if __name__ == "__main__":
    run_command(main)
