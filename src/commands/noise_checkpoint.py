"""The work of tools/noise_checkpoint.py: a copy of a checkpoint with noise on its weights."""

import logging
from pathlib import Path

from src.common.errors import UserError
from src.weights import load_checkpoint_weights, save_weights
from src.weights.checkpoint import checkpoint_config
from src.weights.noise import is_learned, noised_weights

logger = logging.getLogger(__name__)


def noise_checkpoint(checkpoint_path: str, output_file: str, noise_level: float, seed: int) -> None:
    """Write the weights of a checkpoint with noise, and the configuration that the checkpoint holds.

    Args:
        checkpoint_path: of a training (whose optimizer state is left out) or with weights alone.
        output_file: checkpoint to write; holds weights alone, and so starts a training at its first step.
        noise_level: standard deviation of the noise relative to that of each tensor, see `noised_weights`.
        seed: at least 0; another one draws anew.

    Raises:
        UserError: the checkpoint is missing or damaged, or would be overwritten.
    """
    if Path(output_file).resolve() == Path(checkpoint_path).resolve():
        raise UserError(f"--output_file {output_file} is the checkpoint to read; name another file")
    arrays = load_checkpoint_weights(checkpoint_path)
    save_weights(output_file, noised_weights(arrays, noise_level, seed), checkpoint_config(checkpoint_path))
    learned = sum(is_learned(name, array) for name, array in arrays.items())
    logger.info(f"noise of level {noise_level:g} (seed {seed}) on {learned} of {len(arrays)} parameters: {output_file}")
