r"""The learning rate of a configuration over its epochs, as a picture.

    python tools/plot_lr.py --config_path configs/nas_fpn/retinanet_r50_nasfpn_640.yaml --steps_per_epoch 916 \
        --output lr.png

Steps are counted from the training data of the configuration unless --steps_per_epoch says how many there are.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.errors import UserError
from src.common.program import run_command
from src.config import config_and_options

EXTRA = {
    "output": ("lr.png", "picture to write (.png, .svg, .pdf, .jpg)"),
    "steps_per_epoch": (0, "updates per epoch; 0: training images / (batch_size x accumulate_step x device_num)"),
}


def main() -> None:
    """Check the configuration, then draw."""
    config, extra = config_and_options(__doc__, EXTRA)
    steps = extra.steps_per_epoch
    if not isinstance(steps, int) or steps < 0:
        raise UserError(f"--steps_per_epoch {steps}: must be a number of steps")
    from src.commands.draw_schedule import draw_schedule, steps_of_data

    draw_schedule(config, steps or steps_of_data(config), extra.output)
    print(extra.output)


if __name__ == "__main__":
    run_command(main)
