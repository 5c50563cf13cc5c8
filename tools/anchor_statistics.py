r"""Do the anchors fit your objects? Objects of each level, best possible recall, and what would fit better.

    python tools/anchor_statistics.py --config_path configs/demo/spinenet_retinanet.yaml \
        --train_dataset data/shapes/train --output anchors.png

Looks at the training data as the configuration resizes it, and at the anchors of RetinaNet and RefineDet, or of the
region proposal network of Mask R-CNN. Any key can be given too, such as --img_width or those of the anchors.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.errors import UserError
from src.common.program import run_command
from src.config import config_and_options

EXTRA = {"output": ("", "picture to write (.png, .svg, .pdf, .jpg)")}


def main() -> None:
    """Check the configuration, then look at the data."""
    config, extra = config_and_options(__doc__, EXTRA)
    if not extra.output:
        raise UserError("--output is missing; give a picture to write, such as anchors.png")
    from src.commands.anchors import report_anchors

    report_anchors(config, extra.output)


if __name__ == "__main__":
    run_command(main)
