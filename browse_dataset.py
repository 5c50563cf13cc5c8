"""Draw what the network will see: images after augmentation, with boxes, labels and masks, as PNG pages.

    python browse_dataset.py --config_path configs/demo/spinenet_retinanet.yaml --output_dir pages
    python browse_dataset.py --config_path C --output_dir pages --split val --num_images 12 --ratio_range "[0.5, 2.0]"
    python browse_dataset.py --config_path C --output_dir pages --before_after 1

Any key of the configuration can be given too. Padding, crops, flips, colours and masks are as the network gets them.
"""

from src.common.errors import UserError
from src.common.program import run_command
from src.config import config_and_options

EXTRA = {
    "output_dir": ("", "folder for the pages"),
    "split": ("train", "train: augmented training images; val: evaluation images"),
    "num_images": (32, "how many images to draw"),
    "before_after": (0, "1: each training image before and after augmentation, side by side"),
}


def main() -> None:
    """Check the arguments, then draw."""
    config, extra = config_and_options(__doc__, EXTRA)
    if not extra.output_dir:
        raise UserError("--output_dir is missing; give a folder for the pages")
    from src.commands.browse import browse

    browse(config, extra.output_dir, extra.split, extra.num_images, extra.before_after == 1)


if __name__ == "__main__":
    run_command(main)
