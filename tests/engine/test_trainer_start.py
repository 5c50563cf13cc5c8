"""Where a training starts, from the weights of another one or from its own, and where it may end early."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.engine import starting_point
from src.engine import trainer as trainer_module
from src.engine.starting_point import _count_by, check_common_start
from src.engine.stop_request import StopRequest
from src.engine.trainer import Trainer, Validation
from src.evaluation.metrics import Metrics
from src.model_utils.device_adapter import Device
from src.model_utils.local_adapter import _step_file, note_step
from src.schema import Config
from src.weights.checkpoint import TrainingState, save_weights
from tests.conftest import ROOT
from tests.end_to_end.commands import logged
from tests.engine.toy_detector import ToyDetector, toy_batch

STEPS = 4  # an epoch
RAMPS = {f"warmup_epochs{phase}": 1 for phase in range(1, 6)}


class Loader:
    """Batches for a toy detector; notes which epochs were asked for."""

    def __init__(self, name: str = "training") -> None:
        self.dataset = SimpleNamespace(records=[SimpleNamespace(name=name)] * STEPS, problems=[])
        self.factors = None
        self.asked = []

    def __len__(self) -> int:
        return STEPS

    def epoch(self, epoch: int, skip: int):
        self.asked.append((epoch, skip))
        return iter([toy_batch(2, epoch * STEPS + step) for step in range(skip, STEPS)])

    def close(self) -> None:
        pass


def configured(tmp_path: Path, **overrides) -> Config:
    save_weights(tmp_path / "earlier.ckpt", {p.name: p.asnumpy() for p in ToyDetector(seed=5).get_parameters()})
    options = {"epoch_size": 8, "log_every": 1, "run_eval": 0, "save_every": 0, "brief": "run"}
    options |= {"pre_trained": tmp_path / "earlier.ckpt", "train_outputs": tmp_path}
    path = ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640.yaml"
    return load_config(path, {**{k: str(v) for k, v in options.items()}, **RAMPS, **overrides})


def trained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    found: list[float | dict[str, float]] = (),
    checkpoint: Path | None = None,
    loader: Loader | None = None,
    **overrides,
) -> tuple[Trainer, Loader, str]:
    """A trainer at its end, its loader, and its log; AP (or more) is `found` by one evaluation after the other."""
    monkeypatch.setattr(trainer_module, "build_detector", lambda config: ToyDetector())
    values = iter(value if isinstance(value, dict) else {"bbox_mAP": value} for value in found)
    monkeypatch.setattr(trainer_module, "evaluate_detector", lambda *_: Metrics(next(values), {}, {}, {}, 0, 0))
    loader = loader or Loader()
    validation = Validation(Loader("evaluated"), SimpleNamespace(reset=lambda: None)) if found else None
    trainer = Trainer(
        configured(tmp_path, **overrides), Device("CPU"), tmp_path / "run", loader, validation, checkpoint
    )
    with StopRequest() as stop:
        trainer.run(stop)
    trainer.close()
    return trainer, loader, (tmp_path / "run/train.log").read_text()


def test_epochs_order_and_learning_rate_go_on_after_pre_trained_epoch_size(tmp_path, monkeypatch):
    trainer, loader, log = trained(tmp_path, monkeypatch, pre_trained_epoch_size=6)
    assert loader.asked == [(6, 0), (7, 0)]
    assert "going on after epoch 6, step 0: 24 steps are taken as done" in log
    assert "epoch: 7 step: 1, " in log and "epoch: 6 " not in log
    rates = [float(rate) for rate in re.findall(r"^lr:\[(.*)\]$", log, re.MULTILINE)]
    assert rates == pytest.approx([trainer.schedule(step) for step in range(24, 32)], abs=1e-6)
    assert rates[0] < 0.1 * 0.9  # the cosine after the ramps, not the first of them
    assert trainer.state.step == 32


def test_the_launching_script_learns_each_step(tmp_path, monkeypatch):
    monkeypatch.setenv("STEP_FILE", str(tmp_path / "step"))
    steps = []
    monkeypatch.setattr(trainer_module, "note_step", lambda step: steps.append(note_step(step)))
    _step_file.cache_clear()
    trained(tmp_path, monkeypatch, pre_trained_epoch_size=5, epoch_size=6)
    _step_file.cache_clear()
    assert len(steps) == STEPS
    assert (tmp_path / "step").read_text() == str(6 * STEPS)


def test_checkpoints_have_the_names_of_mindspores_callback(tmp_path, monkeypatch):
    trainer, _, _ = trained(tmp_path, monkeypatch, epoch_size=6, save_every=3, keep_checkpoint_max=2)
    links = {path.name: path.readlink().name for path in trainer.keeper.folder.iterdir() if path.is_symlink()}
    assert links == {
        "retinanet_nasfpn_6-1.ckpt": "step_00000021.ckpt",
        "retinanet_nasfpn-6-1.ckpt": "step_00000021.ckpt",
        "retinanet_nasfpn_6-4.ckpt": "step_00000024.ckpt",
        "retinanet_nasfpn-6-4.ckpt": "step_00000024.ckpt",
    }


@pytest.mark.parametrize(
    "pattern", ["net.ckpt", "step_{epoch}_{step}.ckpt", "a/{epoch}_{step}.ckpt", "n-{epoch}-{step}"]
)
def test_a_pattern_of_names_that_cannot_be_is_an_error(tmp_path, pattern):
    with pytest.raises(UserError, match="checkpoint_name.*must be like NAME-{epoch}_{step}.ckpt"):
        configured(tmp_path, checkpoint_name=pattern)


def test_global_step_may_lie_within_an_epoch(tmp_path, monkeypatch):
    _, loader, log = trained(tmp_path, monkeypatch, global_step=26)
    assert loader.asked == [(6, 2), (7, 0)]
    assert "going on after epoch 6, step 2: 26 steps" in log


def test_without_either_the_training_begins_anew_from_the_weights(tmp_path, monkeypatch):
    _, loader, log = trained(tmp_path, monkeypatch, epoch_size=6)
    assert loader.asked[0] == (0, 0)
    assert "loaded" in log and "going on" not in log


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"pre_trained_epoch_size": 8}, "pre_trained_epoch_size is 8, but the training ends after epoch_size 8"),
        ({"pre_trained_epoch_size": 2, "global_step": 8}, "global_step is 8 and pre_trained_epoch_size 2: set one"),
        ({"pre_trained_epoch_size": 2, "pre_trained": ""}, "pre_trained_epoch_size is 2, but pre_trained is empty"),
        ({"epoch_size": 4}, "epoch_size is 4, fewer than the 5 epochs of warmup_epochs1 to warmup_epochs5"),
    ],
)
def test_contradictions(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        configured(tmp_path, **overrides)


def test_a_global_step_beyond_the_end(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="global_step: 32 steps are 8 epochs of 4 steps here"):
        trained(tmp_path, monkeypatch, global_step=32)


@pytest.mark.parametrize(("overrides", "warned"), [({"pre_trained": ""}, True), ({}, False)])
def test_frozen_stages_with_random_weights_are_pointed_out(tmp_path, monkeypatch, overrides, warned):
    _, _, log = trained(tmp_path, monkeypatch, epoch_size=6, **{"backbone.frozen_stages": 1, **overrides})
    assert ("backbone.frozen_stages 1 keeps random weights" in log) == warned


WITHOUT_PRE_TRAINED = {"pre_trained": "", "run_eval": 1}


def test_patience_ends_with_evaluations_that_bring_nothing_better(tmp_path, monkeypatch):
    found = [0.1, 0.3, 0.3, 0.2, 0.9]
    trainer, loader, log = trained(tmp_path, monkeypatch, found, patience=2, **WITHOUT_PRE_TRAINED)
    assert trainer.state.epoch == 4
    assert len(loader.asked) == 4
    assert "stopped early: 2 evaluations brought nothing better" in log
    assert (tmp_path / "run/checkpoints/best.ckpt").samefile(tmp_path / "run/checkpoints/best_epoch_003_AP_0.3000.ckpt")


def test_patience_counts_on_in_a_resumed_training(tmp_path, monkeypatch):
    trained(tmp_path, monkeypatch, [0.3, 0.2, *[0.1] * 4], patience=3, epoch_size=6, **WITHOUT_PRE_TRAINED)
    last = tmp_path / "run/checkpoints/last.ckpt"
    options = WITHOUT_PRE_TRAINED | {"epoch_size": 8}
    trainer, loader, _ = trained(tmp_path, monkeypatch, [0.1] * 8, last, patience=4, **options)
    assert trainer.state.epoch == 5
    assert loader.asked == [(4, 0)]
    trainer, _, log = trained(tmp_path, monkeypatch, [0.4, 0.1, 0.1], last, patience=5, **options)
    assert trainer.state.epoch == 8
    assert log.count("stopped early") == 2


def test_a_training_that_does_not_evaluate_keeps_the_evaluation_that_was_interrupted(tmp_path, monkeypatch):
    """Killed between the rows of an evaluation and the checkpoint after it."""

    def killed(*_) -> None:
        raise OSError("killed")

    monkeypatch.setattr(trainer_module.CheckpointKeeper, "save_best", killed)
    with pytest.raises(OSError, match="killed"):
        trained(tmp_path, monkeypatch, [0.3], epoch_size=6, **WITHOUT_PRE_TRAINED)
    monkeypatch.undo()
    last = tmp_path / "run/checkpoints/last.ckpt"
    trainer, _, _ = trained(tmp_path, monkeypatch, (), last, epoch_size=6, pre_trained="", run_eval=0)
    assert trainer.state.epoch == 6
    assert logged(tmp_path / "run", "bbox_mAP", "eval") == {STEPS: 0.3}


def test_another_metric_decides_what_is_best(tmp_path, monkeypatch):
    found = [{"bbox_mAP": ap, "bbox_mAP_50": ap_50} for ap, ap_50 in ((0.1, 0.6), (0.2, 0.5), (0.3, 0.4), (0.9, 0.9))]
    options = WITHOUT_PRE_TRAINED | {"main_metric": "bbox_mAP_50", "patience": 2}
    trainer, _, log = trained(tmp_path, monkeypatch, found, **options)
    assert trainer.state.epoch == 3 and trainer.state.best_metric == 0.6
    folder = tmp_path / "run/checkpoints"
    assert (folder / "best.ckpt").samefile(folder / "best_epoch_001_bbox_mAP_50_0.6000.ckpt")
    assert "'bbox_mAP': 0.1, 'bbox_mAP_50': 0.6, 'loss'" in log
    trainer, _, log = trained(tmp_path, monkeypatch, [0.05] * 5, folder / "last.ckpt", **WITHOUT_PRE_TRAINED)
    assert "main_metric was bbox_mAP_50 and is auto: the next evaluation is the best so far" in log
    assert trainer.state.best_metric == 0.05
    assert (folder / "best.ckpt").samefile(folder / "best_epoch_008_AP_0.0500.ckpt")


def test_what_was_not_measured_is_pointed_out(tmp_path, monkeypatch):
    found = [{"bbox_mAP": 0.5, "bbox_mAP_l": -1.0}] * 5
    trainer, _, log = trained(
        tmp_path, monkeypatch, found, epoch_size=5, main_metric="bbox_mAP_l", **WITHOUT_PRE_TRAINED
    )
    assert trainer.state.best_metric is None
    assert "main_metric bbox_mAP_l measures nothing: no such object is evaluated" in log


class OverflowingLoader(Loader):
    """The images of the second and third step are infinite, or of all steps from the second on."""

    def __init__(self, ends: int) -> None:
        super().__init__()
        self.ends = ends

    def epoch(self, epoch: int, skip: int):
        for step, batch in enumerate(super().epoch(epoch, skip), epoch * STEPS + skip):
            if 1 <= step < self.ends:
                batch["image"][:] = math.inf
            yield {**batch, "path": [f"{step}.jpg"]}


SCALED = {"pre_trained": "", "loss_scale": "dynamic", "scale_start": 64, "scale_window": 3}


def test_skipped_steps_are_told_and_resumed(tmp_path, monkeypatch):
    trainer, _, log = trained(tmp_path, monkeypatch, loader=OverflowingLoader(3), epoch_size=5, **SCALED)
    state = trainer.state
    skipped = "of epoch 1: gradients are not finite at loss scale"
    assert f"skipped step 2 {skipped} 64; it is 32 now; skipped so far: 1" in log
    assert f"skipped step 3 {skipped} 32; it is 16 now; skipped so far: 2" in log
    assert (state.step, state.skipped_steps, state.loss_scale, state.good_steps) == (20, 2, 16 * 2**5, 2)
    assert logged(tmp_path / "run", "skipped_steps")[20] == 2
    assert logged(tmp_path / "run", "scale") | {2: 32, 3: 16, 5: 16, 6: 32} == logged(tmp_path / "run", "scale")
    resumed, _, _ = trained(
        tmp_path, monkeypatch, checkpoint=tmp_path / "run/checkpoints/last.ckpt", epoch_size=6, **SCALED
    )
    assert (resumed.state.loss_scale, resumed.state.good_steps, resumed.state.skipped_steps) == (16 * 2**7, 0, 2)


def test_twenty_skipped_steps_in_a_row_end_the_training(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"^the gradients of 20 steps in a row were not finite, the last at epoch 6"):
        trained(tmp_path, monkeypatch, loader=OverflowingLoader(99), **SCALED)


def test_a_loss_that_is_not_finite_ends_a_training_with_a_fixed_scale(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"^the loss is not finite at epoch 1, step 2 \(.*images 1.jpg"):
        trained(tmp_path, monkeypatch, loader=OverflowingLoader(99), **SCALED | {"loss_scale": 64})


@pytest.mark.parametrize(
    ("before", "images", "step", "told"),
    [
        (2, 2, 2, []),
        (0, 4, 2, []),
        (2, 1, 4, ["; 4 images of epoch 6 are done"]),
        (2, 4, 1, ["; 4 images of epoch 6 are done"]),
        (2, 3, 1, ["; 4 images of epoch 6 are done, 1 of them come again"]),
        (2, 8, 0, ["; 4 images of epoch 6 are done, 4 of them come again"]),
    ],
)
def test_another_batch_goes_on_by_images_seen(before, images, step, told):
    state = TrainingState(step=22, epoch=5, step_in_epoch=2, loss_sum=3.0, images_per_step=before)
    line = f"{images} images per step instead of {before}: the learning rate goes on where it was, by images seen"
    assert _count_by(images, state, Path("a.ckpt"), turns=False) == [line + end for end in told]
    assert (state.step, state.epoch, state.step_in_epoch) == (22, 5, step)
    assert state.images_per_step == images
    assert state.loss_sum == 1.5 * step  # its mean is what it was


def test_another_batch_between_epochs():
    state = TrainingState(step=20, epoch=5, images_per_step=2)
    (line,) = _count_by(4, state, Path("a.ckpt"), turns=True)
    assert line == "4 images per step instead of 2: the learning rate goes on where it was, by images seen"
    assert (state.step, state.epoch, state.step_in_epoch) == (20, 5, 0)


def test_a_training_resumed_with_another_batch(tmp_path, monkeypatch):
    trained(tmp_path, monkeypatch, pre_trained_epoch_size=5, epoch_size=6, save_every=2, batch_size=2)
    middle = tmp_path / "run/checkpoints/step_00000022.ckpt"
    options = {"pre_trained": "", "resume": str(middle), "epoch_size": 7, "batch_size": 4}
    trainer, loader, log = trained(tmp_path, monkeypatch, checkpoint=middle, **options)
    log = log[log.index("resumed from") :]
    assert loader.asked == [(5, 1), (6, 0)]
    assert "INFO: 4 images per step instead of 2: " in log
    rates = [float(rate) for rate in re.findall(r"^lr:\[(.*)\]$", log, re.MULTILINE)]
    assert rates == pytest.approx([trainer.schedule(at) for at in range(21, 28)], abs=1e-6)
    assert trainer.state.step == 22 + 3 + 4  # steps are numbered on, and so are the checkpoints


def test_the_rest_of_an_epoch_of_turning_frames_needs_the_same_batch():
    state = TrainingState(step=22, epoch=5, step_in_epoch=2, images_per_step=2)
    with pytest.raises(UserError, match=r"^a.ckpt lies within an epoch of 2 images per step, now there are 4: with tu"):
        _count_by(4, state, Path("a.ckpt"), turns=True)


def test_machines_that_resume_from_different_places_are_refused(monkeypatch):
    monkeypatch.setattr(starting_point, "gather_bytes", lambda own, world, keep: [b"after step 22", own])
    state, wanted = TrainingState(), Path("run/last.ckpt")
    with pytest.raises(UserError) as error:
        check_common_start(state, Device("CPU", 1, 2), None, wanted)
    expected = "rank 0 starts after step 22, but rank 1 starts anew: each machine needs the same run/last.ckpt"
    assert str(error.value) == expected
    state.step = 22
    check_common_start(state, Device("CPU", 1, 2), wanted, wanted)
