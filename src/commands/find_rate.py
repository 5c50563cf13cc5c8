"""The work of tools/lr_finder.py: a training with a rising learning rate, its picture and a suggestion."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from src.common.progress import wants_bar
from src.data.builders import build_train_loader
from src.data.open_dataset import check_or_pack_dataset
from src.engine.loss_scale import build_loss_scale
from src.engine.lr_schedule import images_per_step
from src.engine.optimizer import build_optimizer
from src.engine.preparation import prepare_for_training
from src.engine.rate_sweep import RateSweep, loss_of_updates
from src.engine.starting_point import load_starting_point
from src.engine.train_step import Updater
from src.model_utils.device_adapter import setup_device
from src.models import build_detector
from src.schema import Config
from src.visual.rate_curve import draw_losses_by_rate


def find_rate(config: Config, rates: list[float], path: str | Path) -> RateSweep:
    """Train with one rate after the other, on one device, and draw the losses.

    Args:
        config: of the training; its weights, data, batches, optimizer and clipping count, its schedule does not.
        rates: growing.
        path: picture to write.

    Raises:
        UserError: bad data, weights or devices; the picture cannot be written.
    """
    config = config.model_copy(update={"run_distribute": False})
    check_or_pack_dataset(config, training=True)
    setup_device(config)
    with closing(build_train_loader(config)) as loader:
        net = build_detector(config)
        prepare_for_training(net, config)
        optimizer = build_optimizer(config, net.trainable_params())
        load_starting_point(config, net, optimizer, None, max(len(loader) // config.accumulate_step, 1))
        update = Updater(net, optimizer, build_loss_scale(config), config.grad_clip, config.accumulate_step)
        sweep = RateSweep(rates)
        with tqdm(total=len(rates), desc="rates", disable=not wants_bar(config.progress_bar)) as bar:
            sweep.run(_shown(loss_of_updates(update, loader), bar))
    marks = {} if sweep.suggested is None else {"suggested": sweep.suggested, "lowest": sweep.rates[sweep.lowest]}
    title = f"{config.brief}: {images_per_step(config, 1)} images per step"
    draw_losses_by_rate(path, title, sweep.rates, sweep.losses, sweep.smoothed, marks)
    return sweep


def summary(config: Config, sweep: RateSweep) -> str:
    """What the sweep found, in a few lines."""
    if not sweep.losses:
        return f"the loss is not finite at the first rate, {sweep.planned[0]:.3g}: give a lower --first_rate"
    smoothed, lowest = sweep.smoothed, sweep.lowest
    lines = [
        f"loss {smoothed[0]:.4g} at {sweep.rates[0]:.3g}, lowest {smoothed[lowest]:.4g} at {sweep.rates[lowest]:.3g}, "
        f"last {smoothed[-1]:.4g} at {sweep.rates[-1]:.3g} (running means of {len(smoothed)} steps)"
    ]
    if sweep.suggested is not None:
        images = images_per_step(config, 1)
        lines.append(f"suggested: --lr {sweep.suggested:.2g} --base_batch_size {images}")
    elif lowest == 0:
        lines.append("no suggestion: the loss does not fall; give a lower --first_rate, or more --steps")
    else:
        lines.append("no suggestion: the loss still falls at the last rate; give a higher --last_rate")
    return "\n".join(lines)


def _shown(loss_at: Callable[[float], float], bar: tqdm) -> Callable[[float], float]:
    """The same, with a progress bar that moves."""

    def shown(rate: float) -> float:
        loss = loss_at(rate)
        bar.update()
        bar.set_postfix(lr=f"{rate:.2g}", loss=f"{loss:.4f}", refresh=False)
        return loss

    return shown
