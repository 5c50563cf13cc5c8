"""The training loop: epochs, logging, evaluation, checkpoints, resuming, stopping."""

import logging
import math
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.common.program import Terminated
from src.config import save_config
from src.data.data_source import require_data
from src.data.loader import build_eval_loader, build_train_loader
from src.engine.checkpoint_keeper import CheckpointKeeper
from src.engine.evaluate import evaluate_detector, evaluator_of, timed
from src.engine.lr_schedule import build_schedule
from src.engine.optimizer import build_optimizer
from src.engine.run_log import RunLog
from src.engine.train_step import Updater
from src.evaluation.metrics import VOC_STATISTICS
from src.model_utils.device_adapter import Device, setup_device
from src.models import build_detector
from src.schema import Config
from src.weights.checkpoint import (
    TrainingState,
    load_checkpoint_weights,
    load_fitting_weights,
    load_training_state,
    load_weights,
)
from src.weights.pretrained import load_pretrained_backbone

logger = logging.getLogger(__name__)

MAIN_METRICS = ("bbox_mAP", "segm_mAP")  # the last of them that a detector has tells which checkpoint is best


def train(config: Config) -> None:
    """Train as the configuration says; everything is written under `train_outputs/brief`.

    Raises:
        UserError: bad data, checkpoints or devices; a loss that is not finite.
    """
    require_data(config, training=True)
    if config.run_eval:
        require_data(config, training=False)
    device = setup_device(config)
    folder = Path(config.train_outputs) / config.brief
    checkpoint = _checkpoint_to_resume(config, folder)
    train_loader = build_train_loader(config, device.rank, device.world)
    eval_loader = build_eval_loader(config, device.rank, device.world) if config.run_eval else None
    trainer = Trainer(config, device, folder, train_loader, eval_loader)
    trainer.prepare(checkpoint)
    try:
        with StopRequest() as stop:
            trainer.run(stop)
    finally:
        trainer.close()


def _checkpoint_to_resume(config: Config, folder: Path) -> Path | None:
    """The checkpoint that `resume` names; refuses to write over another run."""
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


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a request that the loop honours between two steps; a second one is immediate."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        if self.signal is not None:
            self.raise_if_asked()
        self.signal = number

    def raise_if_asked(self) -> None:
        """Raise what the signal stands for, if one came."""
        if self.signal is not None:
            raise KeyboardInterrupt if self.signal == signal.SIGINT else Terminated


class Trainer:
    """One training run.

    Args:
        config: checked configuration.
        device: this process.
        folder: of the run.
        train_loader: of this rank.
        eval_loader: of this rank, or None for no evaluation.
    """

    def __init__(self, config: Config, device: Device, folder: Path, train_loader, eval_loader) -> None:
        self.config, self.device, self.folder = config, device, folder
        self.train_loader, self.eval_loader = train_loader, eval_loader
        self.steps_per_epoch = len(train_loader) // config.accumulate_step
        if self.steps_per_epoch == 0:
            needed = config.batch_size * config.accumulate_step * device.world
            raise UserError(
                f"{train_loader.dataset.annotation_file} has {len(train_loader.dataset.records)} images, fewer than "
                f"one step of {needed}: lower --batch_size or --accumulate_step"
            )
        self.net = build_detector(config)
        self.net.set_train(True)
        self.optimizer = build_optimizer(config, self.net.trainable_params())
        self.schedule = build_schedule(config, self.steps_per_epoch)
        self.update = Updater(
            self.net,
            self.optimizer,
            config.loss_scale,
            config.grad_clip,
            config.accumulate_step,
            device.world,
            device.rank,
        )
        self.keeper = CheckpointKeeper(
            config.checkpoint_folder, config.keep_checkpoint_max, config.keep_best_checkpoints_max
        )
        self.evaluator = evaluator_of(eval_loader.dataset, config.iou_types) if eval_loader is not None else None
        self.state = TrainingState(loss_scale=config.loss_scale, seed=config.seed, config=config.model_dump())

    def prepare(self, checkpoint: Path | None) -> None:
        """Load what the run starts from, open the log, save the effective configuration."""
        config = self.config
        notes = []
        if checkpoint is not None:
            self.state = load_training_state(checkpoint, self.net, self.optimizer)
            self.state.config = config.model_dump()
            notes.append(f"resumed from {checkpoint} after step {self.state.step}")
        elif config.pre_trained:
            notes += self._load_pre_trained(config.pre_trained)
            notes += self._go_on_after_pre_trained()
        elif path := config.backbone.pretrained:
            load_pretrained_backbone(self.net.backbone, path)
            notes.append(f"loaded the backbone from {path}")
        self.log = RunLog(
            self.folder,
            self.device.is_main,
            self.state.step if checkpoint is not None else None,
            config.progress_bar,
            config.brief if config.mlflow else None,
        )
        if self.device.is_main:
            save_config(config, self.folder / "config.yaml")
        for note in notes + self._facts():
            self.log.info(note)
        for warning in self._warnings():
            self.log.warning(warning)

    def run(self, stop: StopRequest) -> None:
        """Train up to the last epoch; saves before it stops for `stop`."""
        if self.config.mode == "graph":
            self.log.info("compiling the training step; the first step takes longest")
        while self.state.epoch < self.config.epoch_size:
            _, milliseconds = timed(self._train_epoch, stop)
            self._finish_epoch(stop, milliseconds)
        self.log.info(f"done: checkpoints in {self.keeper.folder}")

    def close(self) -> None:
        """Stop the workers, end the log."""
        self.train_loader.close()
        if self.eval_loader:
            self.eval_loader.close()
        if hasattr(self, "log"):
            self.log.close()

    def _train_epoch(self, stop: StopRequest) -> None:
        state, log = self.state, self.log
        first = state.step_in_epoch
        log.start_epoch(state.epoch + 1, self.steps_per_epoch, first)
        batches = iter(self.train_loader.epoch(state.epoch, first * self.config.accumulate_step))
        for _ in range(first, self.steps_per_epoch):
            self._one_update(batches)
            if stop.signal is not None:
                self._save_periodical()
                log.info(f"stopped after step {state.step}: --resume 1 continues")
                stop.raise_if_asked()
        log.end_epoch()

    def _one_update(self, batches: Iterator[dict]) -> None:
        state, config = self.state, self.config
        group = list(islice(batches, config.accumulate_step))
        rate = self.schedule(state.step)
        terms = dict(zip(self.net.loss_names, self.update(group, rate, state.step).asnumpy().tolist(), strict=True))
        loss = sum(terms.values())
        if not math.isfinite(loss):
            self._stop_for_bad_loss(terms, group, rate)
        state.step += 1
        state.step_in_epoch += 1
        state.loss_sum += loss
        self.log.advance(loss)
        if state.step_in_epoch % config.log_every == 0 or state.step_in_epoch == self.steps_per_epoch:
            shown = "".join(f", {name}: {value:.6f}" for name, value in terms.items())
            self.log.info(
                f"epoch: {state.epoch + 1}, step: {state.step_in_epoch}, loss: {loss:.6f}{shown},  lr: {rate:.6f}"
            )
            self.log.metrics("train", state.epoch + 1, state.step, {"loss": loss, **terms, "lr": rate})
        if config.save_every and state.step % config.save_every == 0:
            self._save_periodical()

    def _stop_for_bad_loss(self, terms: dict[str, float], group: list[dict], rate: float) -> None:
        images = ", ".join(str(path) for batch in group for path in batch["path"])
        shown = ", ".join(f"{name} {value}" for name, value in terms.items())
        raise UserError(
            f"the loss is not finite at epoch {self.state.epoch + 1}, step {self.state.step_in_epoch + 1} ({shown}; "
            f"learning rate {rate:.6g}; images {images}); checkpoints from before are in {self.keeper.folder}; "
            "a lower --lr, a longer --warmup_step or --grad_clip 10 usually helps"
        )

    def _finish_epoch(self, stop: StopRequest, train_milliseconds: float) -> None:
        state, steps = self.state, self.steps_per_epoch
        mean_loss = state.loss_sum / max(state.step_in_epoch, 1)
        state.epoch += 1
        state.step_in_epoch, state.loss_sum = 0, 0.0
        last = state.epoch == self.config.epoch_size
        if state.epoch % self.config.save_checkpoint_epochs == 0 or last:
            self._save_periodical()
        if self.eval_loader is not None and (state.epoch % self.config.eval_every == 0 or last):
            self._evaluate(stop, mean_loss)
        self.log.info(
            f"Train epoch time: {train_milliseconds:.3f} ms, per step time: {train_milliseconds / steps:.3f} ms"
        )
        self.log.redraw_curves()

    def _evaluate(self, stop: StopRequest, mean_loss: float) -> None:
        self.evaluator.reset()
        metrics, milliseconds = timed(
            evaluate_detector,
            self.net,
            self.eval_loader,
            self.evaluator,
            self.device,
            self.folder,
            self.config.progress_bar,
            stop.raise_if_asked,
            self.config.mask_threshold,
        )
        if metrics is None:
            return
        batches = max(len(self.eval_loader), 1)
        self.log.info(f"Eval epoch time: {milliseconds:.3f} ms, per step time: {milliseconds / batches:.3f} ms")
        values = {**metrics.stats, "loss": mean_loss}
        names = (name for name in (*MAIN_METRICS, *VOC_STATISTICS) if name in values)
        shown = {name: values[name] for name in (*names, "loss")}
        self.log.info(f"Result metrics for epoch {self.state.epoch}: {shown}")
        self.log.metrics("eval", self.state.epoch, self.state.step, values)
        best = values[[name for name in MAIN_METRICS if name in values][-1]]
        self.state.best_metric = max(self.state.best_metric, best)
        self.keeper.save_best(self.net, self.optimizer, self.state, best)

    def _save_periodical(self) -> None:
        if self.device.is_main:
            self.keeper.save_last(self.net, self.optimizer, self.state)

    def _load_pre_trained(self, path: str) -> list[str]:
        arrays = load_checkpoint_weights(path)
        if not self.config.finetune:
            load_weights(self.net, arrays, path)
            return [f"loaded {path}"]
        problems = load_fitting_weights(self.net, arrays)
        return [f"loaded what fits of {path}; {len(problems)} entries do not:", *(f"  {line}" for line in problems)]

    def _go_on_after_pre_trained(self) -> list[str]:
        """Count from the epoch or step that the weights were trained to; the loader and the schedule follow."""
        config, state = self.config, self.state
        state.step = config.global_step or config.pre_trained_epoch_size * self.steps_per_epoch
        state.epoch, state.step_in_epoch = divmod(state.step, self.steps_per_epoch)
        if state.epoch >= config.epoch_size:
            raise UserError(
                f"global_step: {state.step} steps are {state.epoch} epochs of {self.steps_per_epoch} steps here, but"
                f" the training ends after epoch_size {config.epoch_size}"
            )
        if state.step == 0:
            return []
        return [f"going on after epoch {state.epoch}, step {state.step_in_epoch}: {state.step} steps are taken as done"]

    def _facts(self) -> list[str]:
        dataset, config = self.train_loader.dataset, self.config
        parameters = sum(int(np.prod(p.shape)) for p in self.net.trainable_params())
        return [
            f"{config.detector} on {self.device.target} x {self.device.world}: {parameters / 1e6:.3f} M trainable "
            f"parameters, {len(dataset.records)} training images, {self.steps_per_epoch} steps an epoch, "
            f"{config.epoch_size} epochs"
        ]

    def _warnings(self) -> Iterator[str]:
        config = self.config
        images = config.batch_size * config.accumulate_step * self.device.world
        if config.base_batch_size and images != config.base_batch_size:
            suggested = config.lr * images / config.base_batch_size
            yield (
                f"lr {config.lr:g} was set for {config.base_batch_size} images a step, this run has {images} "
                f"({config.batch_size} x {config.accumulate_step} accumulated x {self.device.world} devices): "
                f"--lr {suggested:.4g} would match"
            )
        backbone = config.backbone
        if backbone.frozen >= 0 and not (self.state.step or config.pre_trained or backbone.pretrained):
            yield (
                f"backbone.frozen_stages {backbone.frozen} keeps random weights: name an ImageNet backbone in "
                "backbone.pretrained, or set backbone.frozen_stages -1 and backbone.norm_eval 0 to train from nothing"
            )
        if config.datasink:
            yield "datasink: 1 needs GPU or Ascend; this run goes step by step"
        yield from self.train_loader.dataset.problems[:10]
