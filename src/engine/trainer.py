"""The training loop: epochs, logging, evaluation, checkpoints, resuming, stopping."""

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from mindspore import Tensor

from src.common.errors import UserError
from src.config import save_config
from src.data.batch import Batch
from src.data.loader import BatchLoader
from src.engine.averaged_weights import AveragedWeights
from src.engine.checkpoint_keeper import CheckpointKeeper
from src.engine.evaluation_loop import EvaluationOptions, evaluate_detector
from src.engine.log_format import LOG_FORMATS, StepReport
from src.engine.loss_scale import MOST_SKIPPED_IN_A_ROW, build_loss_scale
from src.engine.lr_schedule import build_schedule
from src.engine.main_metric import UNMEASURED, MainMetric
from src.engine.optimizer import build_optimizer
from src.engine.preparation import prepare_for_training
from src.engine.run_facts import facts_of_run, likely_mistakes
from src.engine.run_log import RunLog
from src.engine.starting_point import check_common_start, load_starting_point
from src.engine.step_profile import ProfiledSteps
from src.engine.steps import DoneStep, SingleSteps, Steps, count_steps, plan_steps
from src.engine.stop_request import StopRequest
from src.engine.sunk_steps import SunkSteps
from src.engine.trackers import build_trackers
from src.engine.train_step import MeanOverDevices, Updater
from src.engine.validation_loss import ValidationLoss
from src.evaluation.coco_evaluator import CocoEvaluator
from src.evaluation.metrics import Metrics
from src.model_utils.cached_graph import compile_news_to
from src.model_utils.device_adapter import Device, can_sink_steps
from src.model_utils.local_adapter import note_step
from src.models import build_detector
from src.ops.precision import precision_for_a_while
from src.schema import Config
from src.schema.statistics import AUTO_METRIC, AUTO_METRICS, VOC_STATISTICS
from src.visual.curves import TRAIN_LOSS


@dataclass(frozen=True)
class Validation:
    """What a training is evaluated on.

    Attributes:
        loader: evaluation loader of this rank.
        evaluator: of its data set; the ground truth stays from one evaluation to the next.
    """

    loader: BatchLoader
    evaluator: CocoEvaluator


class Trainer:
    """One training run, ready to go on from where it starts.

    Args:
        config: checked configuration, which is saved with the run.
        device: this process.
        folder: of the run.
        train_loader: of this rank.
        validation: None for no evaluation.
        checkpoint: to resume; None: start as the configuration says.

    Raises:
        UserError: fewer images than a step takes; weights that are missing or do not fit.
    """

    def __init__(
        self,
        config: Config,
        device: Device,
        folder: Path,
        train_loader: BatchLoader,
        validation: Validation | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        self.config, self.device, self.folder = config, device, folder
        self.train_loader, self.validation = train_loader, validation
        self.steps_per_epoch = _steps_per_epoch(config, device, train_loader)
        self.net = build_detector(config)
        prepare_for_training(self.net, config)
        self.optimizer = build_optimizer(config, self.net.trainable_params())
        self.schedule = build_schedule(config, self.steps_per_epoch, device.world)
        self.averages = AveragedWeights(self.net, config.ema_decay) if config.ema_decay else None
        self.update = Updater(
            self.net,
            self.optimizer,
            build_loss_scale(config),
            config.grad_clip,
            config.accumulate_step,
            device.world,
            device.rank,
            self.averages,
        )
        averages = None if self.averages is None else self.averages.named()
        self.main_metric = MainMetric(config.main_metric)
        self.keeper = CheckpointKeeper(
            config.checkpoint_folder,
            config.keep_checkpoint_max,
            config.keep_best_checkpoints_max,
            averages,
            self.main_metric,
        )
        self.validation_loss = ValidationLoss(self.net, device.world) if config.val_loss else None
        self.state, notes = load_starting_point(
            config, self.net, self.optimizer, checkpoint, self.steps_per_epoch, self.averages, device.world
        )
        if self.update.scaling is not None:
            self.update.scaling.restore(self.state)
        if config.resume and device.world > 1:
            check_common_start(self.state, device, checkpoint, self.keeper.last)
        self.steps: Steps = self._choose_steps()
        self.log = self._start_log(notes, resumed=checkpoint is not None)
        if config.profile and device.is_main:
            self.steps = self._profiled(self.steps)

    def run(self, stop: StopRequest) -> None:
        """Train up to the last epoch; saves before it stops for `stop`."""
        with compile_news_to(self.log.info):
            self._run(stop)

    def _run(self, stop: StopRequest) -> None:
        if self.validation is not None and self.state.unevaluated_loss is not None:
            self.log.info(f"the evaluation of epoch {self.state.epoch} was interrupted and comes first")
            self._evaluate(self.validation, stop, self.state.unevaluated_loss)
            self.log.redraw_curves()
        if self.config.mode == "graph" and self.state.epoch < self.config.epoch_size:
            self.log.info(_compile_note(self.config))
        while self.state.epoch < self.config.epoch_size and not self._out_of_patience():
            start = time.perf_counter()
            self._train_epoch(stop)
            self._finish_epoch(stop, start)
        self.log.info(f"done: checkpoints in {self.keeper.folder}")

    def _out_of_patience(self) -> bool:
        """Whether the last evaluations brought nothing better; the same on all devices, though only one knows AP."""
        if not self.config.patience:
            return False
        waited = float(self.state.evaluations_since_best if self.device.is_main else 0)
        if self.device.world > 1:
            waited = self.device.world * float(MeanOverDevices(self.device.world)(Tensor(waited)).asnumpy())
        if round(waited) < self.config.patience:
            return False
        self.log.info(f"stopped early: {round(waited)} evaluations brought nothing better than the best checkpoint")
        return True

    def close(self) -> None:
        """End what prepares steps, and the log."""
        self.steps.close()
        self.log.close()

    def _choose_steps(self) -> Steps:
        """Steps from where the training starts, sunk where that is asked for and the device can."""
        config, state, steps_per_epoch = self.config, self.state, self.steps_per_epoch
        planned = plan_steps(config, self.train_loader, self.schedule, steps_per_epoch, state)
        if not (config.datasink and can_sink_steps(self.device.target)):
            return SingleSteps(self.update, planned)
        count = count_steps(config, steps_per_epoch, state)
        return SunkSteps(self.update, planned, count, config.sink_size, config.jit_level)

    def _profiled(self, steps: Steps) -> ProfiledSteps:
        config, folder = self.config, self.folder / "profile"
        return ProfiledSteps(
            steps,
            config.profile,
            self.state,
            self.steps_per_epoch,
            config.epoch_size - 1,
            self.device.target,
            folder,
            self.log.info,
        )

    def _start_log(self, notes: list[str], resumed: bool) -> RunLog:
        config, dataset = self.config, self.train_loader.dataset
        resumed_step = self.state.step if resumed else None
        trackers = build_trackers(config, self.folder, resumed_step) if self.device.is_main else []
        log_format = LOG_FORMATS[config.log_format]
        log = RunLog(
            self.folder,
            self.device.is_main,
            resumed_step,
            config.progress_bar,
            trackers,
            log_format,
            evaluates_again=self.validation is not None and self.state.unevaluated_loss is not None,
        )
        if self.device.is_main:
            save_config(config, self.folder / "config.yaml")
        facts = facts_of_run(config, self.device, self.net, dataset, self.steps_per_epoch, self.train_loader.factors)
        for note in (*notes, *facts):
            log.info(note)
        evaluated = None if self.validation is None else self.validation.loader.dataset
        for warning in likely_mistakes(config, self.device, dataset, self.state, evaluated):
            log.warning(warning)
        return log

    def _train_epoch(self, stop: StopRequest) -> None:
        state, log = self.state, self.log
        log.start_epoch(state.epoch + 1, self.steps_per_epoch, state.step_in_epoch)
        while state.step_in_epoch < self.steps_per_epoch:
            for done in self.steps.run(self._steps_together()):
                self._take_note(done)
            if self.config.save_every and state.step % self.config.save_every == 0:
                self._save_periodical()
            if stop.signal is not None:
                self._save_periodical()
                log.info(f"stopped after step {state.step}: --resume 1 continues")
                stop.raise_if_asked()
        log.end_epoch()

    def _steps_together(self) -> int:
        """How many steps are taken before the weights are needed: at the end of an epoch, and to be saved."""
        state, save_every = self.state, self.config.save_every
        count = min(self.steps.most, self.steps_per_epoch - state.step_in_epoch)
        return min(count, save_every - state.step % save_every) if save_every else count

    def _take_note(self, done: DoneStep) -> None:
        state, config = self.state, self.config
        terms = dict(zip(self.net.loss_names, done.terms, strict=True))
        loss = sum(terms.values())
        skipped = self._note_scale(terms, done)
        if not skipped and not math.isfinite(loss):
            self._stop_for_bad_loss("the loss is not finite", terms, done)
        state.step += 1
        state.step_in_epoch += 1
        note_step(state.step)
        state.loss_sum += 0.0 if skipped else loss
        self.log.advance(loss)
        if state.step_in_epoch % config.log_every == 0 or state.step_in_epoch == self.steps_per_epoch:
            self.log.step(StepReport(state.epoch + 1, state.step_in_epoch, loss, terms, done.rate))
            self.log.metrics("train", state.epoch + 1, state.step, self._logged(loss, terms, done.rate))

    def _logged(self, loss: float, terms: dict[str, float], rate: float) -> dict[str, float]:
        """What metrics.csv keeps of a step."""
        values = {"loss": loss, **terms, "lr": rate}
        if self.update.scaling is not None:
            values |= {"scale": self.state.loss_scale, "skipped_steps": self.state.skipped_steps}
        return values

    def _note_scale(self, terms: dict[str, float], done: DoneStep) -> bool:
        """Take over a dynamic loss scale into the state, and tell of a skipped update; returns whether it was one."""
        state, before = self.state, self.state.loss_scale
        if self.update.scaling is None:
            return False
        self.update.scaling.note_in(state)
        if not state.skipped_in_a_row:
            return False
        state.skipped_in_epoch += 1
        self.log.info(
            f"skipped step {state.step_in_epoch + 1} of epoch {state.epoch + 1}: gradients are not finite at loss "
            f"scale {before:g}; it is {state.loss_scale:g} now; skipped so far: {state.skipped_steps}"
        )
        if state.skipped_in_a_row >= MOST_SKIPPED_IN_A_ROW:
            what = f"the gradients of {state.skipped_in_a_row} steps in a row were not finite, the last"
            self._stop_for_bad_loss(what, terms, done)
        return True

    def _stop_for_bad_loss(self, what: str, terms: dict[str, float], done: DoneStep) -> None:
        shown = ", ".join(f"{name} {value}" for name, value in terms.items())
        raise UserError(
            f"{what} at epoch {self.state.epoch + 1}, step {self.state.step_in_epoch + 1} ({shown}; "
            f"learning rate {done.rate:.6g}; images {', '.join(done.paths)}); checkpoints from before are in "
            f"{self.keeper.folder}; a lower --lr, a longer --warmup_step or --grad_clip 10 usually helps"
        )

    def _finish_epoch(self, stop: StopRequest, start: float) -> None:
        state, steps = self.state, self.steps_per_epoch
        with_evaluation = self.log.log_format.counts_evaluation
        if not with_evaluation:
            self.log.epoch_time(milliseconds_since(start), steps)
        mean_loss = state.loss_sum / max(state.step_in_epoch - state.skipped_in_epoch, 1)
        state.epoch += 1
        state.step_in_epoch, state.skipped_in_epoch, state.loss_sum = 0, 0, 0.0
        last = state.epoch == self.config.epoch_size
        saves = state.epoch % self.config.save_checkpoint_epochs == 0 or last
        evaluates = self.validation is not None and (state.epoch % self.config.eval_every == 0 or last)
        state.unevaluated_loss = mean_loss if evaluates else None
        if saves:
            self._save_periodical()
        if self.validation is not None and evaluates:
            self._evaluate(self.validation, stop, mean_loss, saved=saves)
        if with_evaluation:
            self.log.epoch_time(milliseconds_since(start), steps)
        self.log.redraw_curves()

    def _evaluate(self, validation: Validation, stop: StopRequest, mean_loss: float, saved: bool = True) -> None:
        """Evaluate and keep the best; `saved`: the last checkpoint notes this evaluation as open, which ends here."""
        start = time.perf_counter()
        metrics, losses = self._measure(validation, stop)
        self.state.unevaluated_loss = None
        if metrics is None:
            return
        milliseconds = milliseconds_since(start)
        batches = max(len(validation.loader), 1)
        self.log.info(f"Eval epoch time: {milliseconds:.3f} ms, per step time: {milliseconds / batches:.3f} ms")
        self._report(metrics, losses, mean_loss)
        self._keep_if_best(self.main_metric.value(metrics, losses))
        if saved:
            self._save_periodical()

    def _measure(self, validation: Validation, stop: StopRequest) -> tuple[Metrics | None, dict[str, float]]:
        """What `evaluate_detector` returns, and the losses that `val_loss` asks for."""
        losses = self.validation_loss

        def after_batch(batch: Batch) -> None:
            stop.raise_if_asked()
            if losses is not None:
                losses.add(batch)

        validation.evaluator.reset()
        if losses is not None:
            losses.reset()
        config = self.config
        options = EvaluationOptions(config.mask_threshold, config.progress_bar, after_batch)
        averages = self.averages.in_place() if self.averages is not None and config.ema_eval else nullcontext()
        with averages, precision_for_a_while(self.net, config.amp_infer, config.amp_level, config.amp_dtype):
            metrics = evaluate_detector(self.net, validation.loader, validation.evaluator, self.device, options)
        return metrics, {} if losses is None else losses.means()

    def _report(self, metrics: Metrics, losses: dict[str, float], mean_loss: float) -> None:
        stats = metrics.stats
        shown = {name: stats[name] for name in (*AUTO_METRICS, *VOC_STATISTICS) if name in stats}
        named = self.main_metric.name
        if named not in (AUTO_METRIC, *losses):
            shown[named] = self.main_metric.value(metrics, losses)
        self.log.info(f"Result metrics for epoch {self.state.epoch}: {shown | {'loss': mean_loss} | losses}")
        self.log.metrics("eval", self.state.epoch, self.state.step, stats | shown | {TRAIN_LOSS: mean_loss} | losses)

    def _keep_if_best(self, value: float) -> None:
        state = self.state
        if value == UNMEASURED:
            self.log.warning(f"main_metric {self.main_metric.name} measures nothing: no such object is evaluated")
        better = self.main_metric.is_better(value, state.best_metric)
        state.evaluations_since_best = 0 if better else state.evaluations_since_best + 1
        if better:
            state.best_metric = value
        if math.isfinite(value):
            self.keeper.save_best(self.net, self.optimizer, state, value)

    def _save_periodical(self) -> None:
        if self.device.is_main:
            self.keeper.save_last(self.net, self.optimizer, self.state, self._published_names())

    def _published_names(self) -> list[str]:
        """Names of a checkpoint of now in the fashion of MindSpore's ModelCheckpoint; empty where none is asked for."""
        epoch, step = self.state.epoch + 1, self.state.step_in_epoch
        if step == 0:  # between two epochs
            epoch, step = self.state.epoch, self.steps_per_epoch
        return [name.format(epoch=epoch, step=step) for name in self.config.checkpoint_name]


def _steps_per_epoch(config: Config, device: Device, train_loader: BatchLoader) -> int:
    steps = len(train_loader) // config.accumulate_step
    if steps == 0:
        needed = config.batch_size * config.accumulate_step * device.world
        raise UserError(
            f"{train_loader.dataset.annotation_file} has {len(train_loader.dataset.records)} images, fewer than "
            f"one step of {needed}: lower --batch_size or --accumulate_step"
        )
    return steps


def _compile_note(config: Config) -> str:
    shapes = [f"{width} x {height}" for height, width in config.input_shapes]
    if len(shapes) == 1:
        return "compiling the training step; the first step takes longest"
    return f"compiling the training step for {' and for '.join(shapes)}; the first step of each takes longest"


def milliseconds_since(start: float) -> float:
    """Milliseconds since `start`, a value of `time.perf_counter`."""
    return 1000 * (time.perf_counter() - start)
