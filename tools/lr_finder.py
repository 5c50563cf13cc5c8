r"""Which learning rate a configuration bears: a short training whose rate rises, its picture, and a suggestion.

    python tools/lr_finder.py --config_path configs/demo/nas_fpn.yaml --train_dataset data/shapes/train \
        --output lr_finder.png

The rate grows from --first_rate to --last_rate within --steps updates, unless the loss explodes before. Suggested is a
tenth of the rate at which the running mean of the loss is lowest. Nothing is written but the picture.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.errors import UserError
from src.common.program import run_command
from src.config import config_and_options

EXTRA = {
    "output": ("lr_finder.png", "picture to write (.png, .svg, .pdf, .jpg)"),
    "first_rate": (1e-5, "learning rate of the first step"),
    "last_rate": (1.0, "learning rate of the last step"),
    "steps": (100, "updates, at least 10"),
}


def main() -> None:
    """Check the configuration, then train and draw."""
    config, extra = config_and_options(__doc__, EXTRA)
    if not isinstance(extra.steps, int) or not 10 <= extra.steps <= 100_000:
        raise UserError(f"--steps {extra.steps}: must be a number of steps from 10 to 100000")
    rates = (extra.first_rate, extra.last_rate)
    if not all(isinstance(rate, int | float) and 0 < rate < float("inf") for rate in rates) or rates[0] >= rates[1]:
        raise UserError(f"--first_rate {rates[0]}, --last_rate {rates[1]}: must be two rates above 0 that grow")
    from src.commands.find_rate import find_rate, summary
    from src.engine.rate_sweep import rising_rates

    sweep = find_rate(config, rising_rates(*rates, extra.steps), extra.output)
    print(f"{summary(config, sweep)}\n{extra.output}")


if __name__ == "__main__":
    run_command(main)
