"""Pack a data set into MindRecord files, once, for training and evaluation to read.

    python create_data.py --create_dataset coco --prefix retinanet.mindrecord --is_training True
    python create_data.py --create_dataset coco --prefix retinanet_eval.mindrecord --is_training False

The configuration says where the data set is (coco_root, voc_root, or image_dir and anno_path; train_dataset and
val_dataset), what its classes are, and where the files go (mindrecord_dir). train.py and eval.py with the same
mindrecord_dir read them instead of the images. A run that is stopped leaves nothing that looks complete.
"""

from src.commands.default_config import default_of
from src.common.program import run_command
from src.config import config_and_options

OPTIONS = {
    "create_dataset": ("", "coco, voc or other: how the annotations are written; empty: the key dataset"),
    "prefix": ("", "name of the files; empty: the key prefix, or eval_prefix for evaluation data"),
    "is_training": (True, "True: the training data, False: the evaluation data"),
    "shards": (0, "number of files; 0: one per GiB"),
    "overwrite": (0, "1: replace what is there"),
}


def main() -> None:
    """Check the configuration, then read, check and write."""
    config, options = config_and_options(__doc__, OPTIONS, fallbacks=(default_of("create_data.py"),))
    from src.data.mindrecord.create import create_mindrecord

    create_mindrecord(
        config,
        options.create_dataset,
        options.prefix,
        bool(options.is_training),
        int(options.shards),
        bool(options.overwrite),
    )


if __name__ == "__main__":
    run_command(main)
