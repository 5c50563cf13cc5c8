r"""A copy of a checkpoint with noise on its weights, from which a training shows how it recovers.

    python tools/noise_checkpoint.py --checkpoint_path mask_rcnn_r50.ckpt --output_file mask_rcnn_r50_noised.ckpt \
        --noise_level 0.1

Each learned tensor W (weights, biases, gamma and beta) becomes W + noise_level * std(W) * N(0, 1), drawn for each value
on its own, with the standard deviation of that tensor. Running statistics of batch normalization stay as they are, and
so does the configuration inside; optimizer state is left out. The same seed draws the same noise.
"""

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.errors import UserError
from src.common.program import run_command


def main() -> None:
    """Read the arguments, then write the noised copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint_path", required=True, help="checkpoint to read (.ckpt)")
    parser.add_argument("--output_file", required=True, help="checkpoint to write (.ckpt)")
    parser.add_argument(
        "--noise_level", type=float, default=0.1, help="noise relative to each tensor's deviation (default: 0.1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another one draws anew (default: 0)")
    args = parser.parse_args()
    if not math.isfinite(args.noise_level) or args.noise_level < 0:
        raise UserError(f"--noise_level {args.noise_level:g}: must be a number from 0")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must be a whole number from 0")
    if Path(args.output_file).suffix != ".ckpt":
        raise UserError(f"--output_file {args.output_file}: the name of a checkpoint ends in .ckpt")
    from src.commands.noise_checkpoint import noise_checkpoint

    noise_checkpoint(args.checkpoint_path, args.output_file, args.noise_level, args.seed)


if __name__ == "__main__":
    run_command(main)
