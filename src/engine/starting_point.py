"""What a training starts from: its own last checkpoint, weights of an earlier training, or a backbone's."""

import logging
from pathlib import Path

from mindspore import nn

from src.common.errors import UserError
from src.engine.averaged_weights import AveragedWeights
from src.engine.checkpoint_keeper import CheckpointKeeper
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
) -> tuple[TrainingState, list[str]]:
    """Give a detector and its optimizer the values that a training starts with.

    Args:
        config: names the weights, unless a checkpoint is resumed.
        net: detector with initial weights.
        optimizer: of its trainable parameters.
        checkpoint: to resume, or None.
        steps_per_epoch: updates per epoch, for the place in the training.
        averages: of the weights; those of a checkpoint to resume, or else they start as the weights.

    Returns:
        Where the training stands, and lines that say what was loaded.

    Raises:
        UserError: files that are missing or do not fit, or a place beyond the end of the training.
    """
    if checkpoint is not None:
        state = load_training_state(checkpoint, net, optimizer, None if averages is None else averages.named())
        notes = [f"resumed from {checkpoint} after step {state.step}", *_forget_other_metric(config, state)]
        if state.config.get("loss_scale") != config.loss_scale:
            _start_scale(config, state)
        state.config = config.model_dump()
        return state, notes
    state = TrainingState(seed=config.seed, config=config.model_dump())
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
