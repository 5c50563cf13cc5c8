"""The work of convert_weights.py: published weights to a checkpoint."""

import logging

from src.schema import Config
from src.weights import convert_weights, save_weights
from src.weights.convert import read_state

logger = logging.getLogger(__name__)


def convert(config: Config, source_file: str, output_file: str) -> None:
    """Read published weights, rename them for the configuration's network and write a checkpoint.

    Raises:
        UserError: see `read_state` and `convert_weights`.
    """
    arrays = convert_weights(read_state(source_file), config)
    save_weights(output_file, arrays, config)
    logger.info(f"wrote {len(arrays)} parameters to {output_file}")
