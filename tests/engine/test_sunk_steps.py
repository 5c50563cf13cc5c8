"""Steps sunk to the device, on the CPU: MindSpore's queue, which only GPUs and Ascends have, is an iterator here."""

import csv
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

from src.common.errors import UserError
from src.config import load_config
from src.engine import trainer as trainer_module
from src.engine.steps import PlannedStep
from src.engine.stop_request import StopRequest
from src.engine.sunk_steps import AHEAD, StepSource, SunkSteps
from src.engine.trainer import Trainer
from src.model_utils.device_adapter import Device
from src.schema import Config
from tests.conftest import ROOT
from tests.engine.toy_detector import ToyDetector, toy_batch

STEPS = 7  # an epoch


class Loader:
    """Batches for a toy detector, one of them broken or too large."""

    def __init__(self, broken: int | None = None, infinite: int | None = None) -> None:
        self.dataset = SimpleNamespace(records=[SimpleNamespace(name="image")] * STEPS, problems=[])
        self.factors, self.broken, self.infinite = None, broken, infinite

    def __len__(self) -> int:
        return STEPS

    def epoch(self, epoch: int, skip: int):
        for step in range(epoch * STEPS + skip, (epoch + 1) * STEPS):
            if step == self.broken:
                raise UserError(f"image {step} is broken")
            batch = toy_batch(2, step)
            batch["path"] = [f"image {step}"] * 2
            if step == self.infinite:
                batch["image"][:] = np.inf
            yield batch


class Queue:
    """Stands in for `ms.data_sink`: a call takes one row, and runs the graph with it."""

    def __init__(self, cell, rows, sink_size=1, jit_config=None, input_signature=None) -> None:
        assert sink_size == 1 and jit_config is not None
        assert [tuple(shape) for shape in rows.output_shapes()] == [form.shape for form in input_signature]
        self.cell, self.calls = cell, 0
        self.rows = rows.create_tuple_iterator(num_epochs=-1)
        rows.__transfer_dataset__ = SimpleNamespace(stop_send=lambda: None, release=lambda: None)

    def __call__(self):
        self.calls += 1
        return self.cell(*next(self.rows))


def configured(folder: Path, **overrides: object) -> Config:
    options = {"epoch_size": 3, "log_every": 1, "run_eval": 0, "save_every": 0, "brief": "run", "warmup_step": 5}
    options |= {"lr": 0.05, "lr_type": "cosine", "train_outputs": folder, "log_format": "timed"}
    path = ROOT / "configs/nas_fpn/retinanet_r50_nasfpn_640.yaml"
    return load_config(path, {name: str(value) for name, value in (options | overrides).items()})


def trained(folder: Path, loader: Loader, monkeypatch: pytest.MonkeyPatch, **overrides: object) -> Trainer:
    """A trainer at its end."""
    monkeypatch.setattr(trainer_module, "build_detector", lambda config: ToyDetector())
    monkeypatch.setattr(ms, "data_sink", Queue)
    target = "GPU" if overrides.get("datasink") else "CPU"
    trainer = Trainer(configured(folder, **overrides), Device(target), folder / "run", loader)
    with StopRequest() as stop:
        try:
            trainer.run(stop)
        finally:
            trainer.close()
    return trainer


def rows(trainer: Trainer) -> list[list[str]]:
    with trainer.log.csv_path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("overrides", [{}, {"ema_decay": 0.9, "save_every": 5, "opt_type": "adam"}], ids=["sgd", "ema"])
def test_losses_and_weights_are_those_of_single_steps(tmp_path, monkeypatch, overrides) -> None:
    """And a sink ends with the epoch and where something is saved."""
    single = trained(tmp_path / "single", Loader(), monkeypatch, **overrides)
    counts: list[int] = []
    run = SunkSteps.run
    monkeypatch.setattr(SunkSteps, "run", lambda self, count: (counts.append(count), run(self, count))[1])
    sunk = trained(tmp_path / "sunk", Loader(), monkeypatch, datasink=1, sink_size=3, **overrides)
    assert len(rows(single)) > 3 * STEPS and rows(sunk) == rows(single)
    np.testing.assert_array_equal(sunk.net.weight.asnumpy(), single.net.weight.asnumpy())
    saved = [sorted(path.name for path in one.keeper.folder.iterdir()) for one in (single, sunk)]
    assert saved[0] == saved[1]
    # with save_every 5: to step 5, 7 (epoch), 10, 13, 14 (epoch)
    assert counts[:6] == ([3, 2, 2, 3, 3, 1] if overrides else [3, 3, 1, 3, 3, 1])
    if overrides:
        for name, average in single.averages.named().items():
            np.testing.assert_array_equal(sunk.averages.named()[name].asnumpy(), average.asnumpy())
    log = (tmp_path / "sunk/run/train.log").read_text()
    assert "datasink: steps are sunk to the GPU, up to 3 at a time" in log


def test_a_stop_is_honoured_after_the_sink_and_resumed(tmp_path, monkeypatch) -> None:
    whole = trained(tmp_path / "whole", Loader(), monkeypatch)
    note = trainer_module.note_step
    stop = StopRequest()
    monkeypatch.setattr(trainer_module, "StopRequest", lambda: stop)

    def stop_at_step_8(step: int) -> None:
        note(step)
        if step == 8:
            stop.signal = 15

    options = {"datasink": 1, "sink_size": 3}
    with monkeypatch.context() as patch:
        patch.setattr(trainer_module, "note_step", stop_at_step_8)
        patch.setattr(stop, "raise_if_asked", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(f"{__name__}.StopRequest", lambda: stop)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "parts", Loader(), monkeypatch, **options)
    log = (tmp_path / "parts/run/train.log").read_text()
    assert "stopped after step 10" in log
    resumed = trained(tmp_path / "parts", Loader(), monkeypatch, resume=1, **options)
    assert rows(resumed) == rows(whole)


def test_a_broken_image_ends_the_training_at_its_step(tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match="image 8 is broken"):
        trained(tmp_path, Loader(broken=8), monkeypatch, datasink=1, sink_size=3)
    log = (tmp_path / "run/train.log").read_text()
    assert "epoch: 2, step: 1, " in log and "step: 2, loss" not in log.split("epoch: 2", 1)[1]


def test_a_loss_that_is_not_finite_names_its_step_and_images(tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"not finite at epoch 2, step 2 .*images image 8, image 8\)"):
        trained(tmp_path, Loader(infinite=8), monkeypatch, datasink=1, sink_size=3)


def test_rows_are_prepared_a_few_ahead_and_an_error_waits_for_its_step() -> None:
    def planned():
        for number in range(3):
            yield PlannedStep([{"path": [f"image {number}"]}], 0.1, number)
        raise UserError("image 3 is broken")

    source = StepSource(planned(), 20, lambda step: (np.int32(step.number),))
    assert [source[0], source[0]] == [(0,), (0,)]  # looked at without being taken
    assert [int(source[index][0]) for index in range(AHEAD)] == [0, 1, 2, 0]  # the first stands in
    assert [source.next_sent()[1] for _ in range(3)] == [["image 0"], ["image 1"], ["image 2"]]
    with pytest.raises(UserError, match="image 3"):
        source.next_sent()
