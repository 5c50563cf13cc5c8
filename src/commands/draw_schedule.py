"""The work of tools/plot_lr.py: the learning rate of a configuration, step by step."""

from pathlib import Path

from src.common.errors import UserError
from src.data.builders import factors_of
from src.data.open_dataset import open_dataset
from src.data.sampling import images_per_epoch
from src.engine.lr_schedule import build_schedule
from src.schema import Config
from src.visual.rate_curve import draw_rates

MOST_POINTS = 5000  # of the curve


def draw_schedule(config: Config, steps_per_epoch: int, path: str | Path) -> None:
    """Draw the learning rate of a configuration over its epochs.

    Raises:
        UserError: the picture cannot be written.
    """
    schedule, total = build_schedule(config, steps_per_epoch, config.device_num), config.epoch_size * steps_per_epoch
    steps = range(0, total, max(total // MOST_POINTS, 1))
    title = f"{config.brief}: {config.lr_type}, {steps_per_epoch} steps per epoch"
    epochs = [step / steps_per_epoch for step in steps]
    draw_rates(path, title, epochs, [schedule(step) for step in steps], config.epoch_size)


def steps_of_data(config: Config) -> int:
    """Updates an epoch with the training data of the configuration.

    Raises:
        UserError: there is no such data, or less than one step of it.
    """
    try:
        dataset = open_dataset(config, training=True)
    except UserError as error:
        raise UserError(f"--steps_per_epoch is missing, and the training data cannot be counted: {error}") from error
    factors = factors_of(config, dataset)
    images = len(dataset.records) if factors is None else images_per_epoch(factors)
    steps = images // (config.batch_size * config.device_num) // config.accumulate_step
    if steps == 0:
        raise UserError(f"{config.train_dataset}: {images} images are fewer than one step; give --steps_per_epoch")
    return steps
