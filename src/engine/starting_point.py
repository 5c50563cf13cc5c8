"""What a training starts from: its own last checkpoint, weights of an earlier training, or a backbone's."""

import logging
from pathlib import Path

from mindspore import nn

from src.common.errors import UserError
from src.engine.averaged_weights import AveragedWeights
from src.engine.checkpoint_keeper import CheckpointKeeper
from src.engine.exchange import gather_bytes
from src.engine.lr_schedule import images_per_step
from src.model_utils.device_adapter import Device
from src.models.api import Detector
from src.schema import Config
from src.schema.statistics import AUTO_METRIC
from src.weights.checkpoint import (
    TrainingState,
    load_checkpoint_weights,
    load_fitting_weights,
    load_training_state,
    load_weights,
)
from src.weights.pretrained import load_pretrained_backbone

logger = logging.getLogger(__name__)


def checkpoint_to_resume(config: Config, folder: Path) -> Path | None:
    """The checkpoint that `resume` names; None: the training starts anew.

    Raises:
        UserError: the checkpoint is missing, or a new training would write over that of `folder`.
    """
    last = CheckpointKeeper(config.checkpoint_folder, 1, 1).last
    if config.resume in ("", "1") and not last.exists():
        if config.resume:
            logger.info(f"nothing to resume in {folder}: starting anew")
        return None
    if config.resume == "1":
        return last
    if config.resume:
        path = Path(config.resume)
        if not path.is_file():
            raise UserError(f"--resume {path}: no such checkpoint")
        return path
    raise UserError(f"{folder} holds a training already; --resume 1 continues it, another --brief starts anew")


def load_starting_point(
    config: Config,
    net: Detector,
    optimizer: nn.Optimizer,
    checkpoint: Path | None,
    steps_per_epoch: int,
    averages: AveragedWeights | None = None,
    world: int = 1,
) -> tuple[TrainingState, list[str]]:
    """Give a detector and its optimizer the values that a training starts with.

    Args:
        config: names the weights, unless a checkpoint is resumed.
        net: detector with initial weights.
        optimizer: of its trainable parameters.
        checkpoint: to resume, or None.
        steps_per_epoch: updates per epoch, for the place in the training.
        averages: of the weights; those of a checkpoint to resume, or else they start as the weights.
        world: number of devices.

    Returns:
        Where the training stands, and lines that say what was loaded.

    Raises:
        UserError: files that are missing or do not fit, a place beyond the end of the training, or one that does not
            exist with as many images per step as there are now.
    """
    images = images_per_step(config, world)
    if checkpoint is not None:
        state = load_training_state(checkpoint, net, optimizer, None if averages is None else averages.named())
        notes = [f"resumed from {checkpoint} after step {state.step}", *_forget_other_metric(config, state)]
        if state.config.get("loss_scale") != config.loss_scale:
            _start_scale(config, state)
        state.config = config.model_dump()
        return state, notes + _count_by(images, state, checkpoint, len(config.input_shapes) > 1)
    state = TrainingState(seed=config.seed, config=config.model_dump(), images_per_step=images)
    _start_scale(config, state)
    notes = []
    if config.pre_trained:
        notes = _load_pre_trained(config, net) + _go_on_after_pre_trained(config, state, steps_per_epoch)
    elif path := config.backbone.pretrained:
        load_pretrained_backbone(net.backbone, path)
        notes = [f"loaded the backbone from {path}"]
    if averages is not None:
        averages.restart()
    return state, notes


def _forget_other_metric(config: Config, state: TrainingState) -> list[str]:
    """Values of another `main_metric` cannot be compared with those to come."""
    before = state.config.get("main_metric", AUTO_METRIC)
    if before == config.main_metric:
        return []
    state.best_metric, state.evaluations_since_best = None, 0
    return [f"main_metric was {before} and is {config.main_metric}: the next evaluation is the best so far"]


def _start_scale(config: Config, state: TrainingState) -> None:
    """The loss scale that a training starts with, and no update skipped in a row so far."""
    state.loss_scale = config.scale_start if isinstance(config.loss_scale, str) else config.loss_scale
    state.good_steps = state.skipped_in_a_row = 0


def check_common_start(state: TrainingState, device: Device, checkpoint: Path | None, wanted: Path) -> None:
    """Refuse to train where processes have not resumed from the same place, such as machines with folders of their own.

    Args:
        state: where this process starts.
        device: this process; all must call this.
        checkpoint: that it resumed, or None.
        wanted: the checkpoint that was to be resumed.

    Raises:
        UserError: another process starts elsewhere.
    """
    own = f"after step {state.step}" if checkpoint is not None else "anew"
    starts = [start.decode() for start in gather_bytes(own.encode(), device.world, keep=True)]
    for rank, start in enumerate(starts):
        if start != starts[0]:
            raise UserError(
                f"rank 0 starts {starts[0]}, but rank {rank} starts {start}: each machine needs the same {wanted}"
            )


def _count_by(images: int, state: TrainingState, checkpoint: Path, turns: bool) -> list[str]:
    """Have `state`, of a checkpoint, count steps of `images` images; a line where those before had another number.

    The order of an epoch's images does not depend on how many make a step, unless batches are of one orientation each.
    The learning rate follows epochs and steps within them, which remain what they are in images.
    """
    before, state.images_per_step = state.images_per_step, images
    if before in (0, images):
        return []
    line = f"{images} images per step instead of {before}: the learning rate goes on where it was, by images seen"
    if state.step_in_epoch == 0:
        return [line]
    if turns:
        raise UserError(
            f"{checkpoint} lies within an epoch of {before} images per step, now there are {images}: with turn_frame "
            f"the images that are still to come depend on that; resume from the end of an epoch, or with {before}"
        )
    seen = state.step_in_epoch * before
    steps, again = divmod(seen, images)
    state.loss_sum *= steps / state.step_in_epoch
    state.skipped_in_epoch = round(state.skipped_in_epoch * steps / state.step_in_epoch)
    state.step_in_epoch = steps
    repeated = f", {again} of them come again" if again else ""
    return [f"{line}; {seen} images of epoch {state.epoch + 1} are done{repeated}"]


def _load_pre_trained(config: Config, net: Detector) -> list[str]:
    path = config.pre_trained
    arrays = load_checkpoint_weights(path)
    if not config.finetune:
        load_weights(net, arrays, path)
        return [f"loaded {path}"]
    problems = load_fitting_weights(net, arrays)
    return [f"loaded what fits of {path}; {len(problems)} entries do not:", *(f"  {line}" for line in problems)]


def _go_on_after_pre_trained(config: Config, state: TrainingState, steps_per_epoch: int) -> list[str]:
    """Count from the epoch or step that the weights were trained to; the loader and the schedule follow."""
    state.step = config.global_step or config.pre_trained_epoch_size * steps_per_epoch
    state.epoch, state.step_in_epoch = divmod(state.step, steps_per_epoch)
    if state.epoch >= config.epoch_size:
        raise UserError(
            f"global_step: {state.step} steps are {state.epoch} epochs of {steps_per_epoch} steps here, but"
            f" the training ends after epoch_size {config.epoch_size}"
        )
    if state.step == 0:
        return []
    return [f"going on after epoch {state.epoch}, step {state.step_in_epoch}: {state.step} steps are taken as done"]
