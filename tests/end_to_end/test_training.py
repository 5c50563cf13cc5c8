"""train.py as a user runs it: logs, interruptions, resuming, mistakes."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from src.common.file_lock import sole_user
from src.weights.checkpoint import load_checkpoint_weights, save_weights
from tests.end_to_end.commands import FROZEN_NORM, ROOT, logged, run, start

LOG_LINE = re.compile(
    r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\] INFO: epoch: (\d+), step: (\d+), loss: \d+\.\d{6}, "
    r" lr: \d\.\d{6}, loss_cls: \d+\.\d{6}, loss_bbox: \d+\.\d{6}"
)

AVERAGED = ("--ema_decay", 0.9)


def train(tiny: Path, brief: str, *arguments: object, expect: int = 0) -> tuple[str, str]:
    return run("train.py", "--config_path", tiny, "--brief", brief, *arguments, cwd=tiny.parent, expect=expect)


def wait_for(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("what was waited for never came")


def wait_for_step(process: subprocess.Popen, folder: Path, step: int) -> None:
    wait_for(process, lambda: (folder / "metrics.csv").is_file() and max(logged(folder), default=0) >= step)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> tuple[Path, str]:
    """Folder and output of two epochs of 12 steps that nobody disturbed, evaluated at the end."""
    from tests.end_to_end.commands import TINY_CONFIG

    folder = tmp_path_factory.mktemp("whole")
    path = folder / "tiny.yaml"
    path.write_text(
        TINY_CONFIG + f"train_dataset: {shapes}/train\nval_dataset: {shapes}/validation\ntrain_outputs: {folder}/out\n"
    )
    out, _ = train(path, "whole", "--run_eval", 1, *AVERAGED, *FROZEN_NORM)
    return folder / "out" / "whole", out


def test_a_run_logs_and_writes_what_the_readme_says(whole_run: tuple[Path, str]) -> None:
    folder, out = whole_run
    assert len(LOG_LINE.findall(out)) == 24
    assert re.search(r"INFO: Eval epoch time: [\d.]+ ms, per step time: [\d.]+ ms", out)
    assert re.search(r"INFO: Result metrics for epoch 2: \{'bbox_mAP': [\d.e-]+, 'loss': [\d.]+\}", out)
    assert len(re.findall(r"INFO: Train epoch time: [\d.]+ ms, per step time: [\d.]+ ms", out)) == 2
    assert (folder / "train.log").read_text().splitlines()[-1] == out.splitlines()[-1]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "base_channels: 8" in (folder / "config.yaml").read_text()
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert {"last.ckpt", "best.ckpt", "step_00000024.ckpt"} <= names
    assert list(logged(folder)) == list(range(1, 25))
    assert set(logged(folder, "bbox_mAP", "eval")) == set(logged(folder, "train_loss", "eval")) == {24}


def test_killed_and_resumed_gives_the_same_losses(tiny: Path, whole_run: tuple[Path, str]) -> None:
    folder = tiny.parent / "out" / "killed"
    step = random.randint(3, 20)
    arguments = ("--save_every", 2, *AVERAGED, *FROZEN_NORM)
    process = start("train.py", "--config_path", tiny, "--brief", "killed", *arguments, cwd=tiny.parent)
    wait_for_step(process, folder, step)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    killed_at = max(logged(folder))
    early = load_checkpoint_weights(folder / "checkpoints/last.ckpt", averaged=False)
    out, _ = train(tiny, "killed", *arguments, "--resume", 1)
    resumed_at = int(re.search(r"after step (\d+)", out)[1])
    assert 0 < resumed_at <= killed_at < 24
    expected, found = logged(whole_run[0]), logged(folder)
    assert list(found) == list(range(1, 25))
    np.testing.assert_allclose([found[s] for s in expected], list(expected.values()), rtol=1e-3)
    last = (run_folder / "checkpoints/last.ckpt" for run_folder in (whole_run[0], folder))
    name = "bbox_head.cls_convs.0.0.conv.weight"
    expected, found = (load_checkpoint_weights(path)[name] for path in last)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-4)
    own = load_checkpoint_weights(folder / "checkpoints/last.ckpt", averaged=False)
    assert np.abs(own[name] - found).max() > 10 * np.abs(found - expected).max()
    # An update that wrote copies of the weights would go unseen by all but the averages, until a run is resumed.
    whole = load_checkpoint_weights(whole_run[0] / "checkpoints/last.ckpt", averaged=False)
    assert not [key for key in whole if key.endswith(".weight") and np.array_equal(whole[key], early[key])]


# While a graph runs MindSpore turns Ctrl-C into SIGTERM, hence the two codes.
@pytest.mark.parametrize(("number", "codes"), [(signal.SIGTERM, (143,)), (signal.SIGINT, (130, 143))])
def test_a_polite_stop_saves_first(tiny: Path, number: int, codes: tuple[int, ...]) -> None:
    folder = tiny.parent / "out" / "stopped"
    process = start("train.py", "--config_path", tiny, "--brief", "stopped", cwd=tiny.parent)
    wait_for_step(process, folder, 3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode in codes, err
    assert "Traceback" not in err
    stopped_at = int(re.search(r"stopped after step (\d+): --resume 1 continues", out)[1])
    assert stopped_at >= 3
    assert (folder / "checkpoints" / f"step_{stopped_at:08d}.ckpt").is_file()


def test_an_evaluation_that_was_killed_is_made_up_for(tiny: Path) -> None:
    arguments = ("--config_path", tiny, "--brief", "evaluation_killed", "--run_eval", 1, "--epoch_size", 1)
    process = start("train.py", *arguments, cwd=tiny.parent)
    folder = tiny.parent / "out" / "evaluation_killed"
    wait_for(process, lambda: (folder / "checkpoints/last.ckpt").is_file())  # the evaluation compiles for seconds now
    process.kill()
    process.communicate()
    assert not (folder / "checkpoints/best.ckpt").exists()
    with (folder / "metrics.csv").open("a") as file:
        file.write(f"eval,1,{max(logged(folder))},bbox_mAP,0.9\n")  # half of what an evaluation writes

    out, _ = train(tiny, "evaluation_killed", "--run_eval", 1, "--epoch_size", 1, "--resume", 1)
    assert "the evaluation of epoch 1 was interrupted and comes first" in out
    assert (folder / "checkpoints/best.ckpt").is_file()
    rows = [line for line in (folder / "metrics.csv").read_text().splitlines() if ",bbox_mAP," in line]
    assert len(rows) == 1
    assert not rows[0].endswith(",0.9")

    out, _ = train(tiny, "evaluation_killed", "--run_eval", 1, "--epoch_size", 1, "--resume", 1)
    assert "was interrupted" not in out


def test_a_loss_that_is_not_finite_stops_the_run_with_the_facts(tiny: Path) -> None:
    _, err = train(tiny, "nan", "--opt_type", "sgd", "--lr", "1e20", "--grad_clip", 0, "--warmup_step", 0, expect=2)
    assert re.search(
        r"error: the loss is not finite at epoch 1, step \d+ \(loss_cls .*loss_bbox .*images .*\.jpg.*\.jpg", err
    )


def test_mistakes_are_one_line(tiny: Path, whole_run: tuple[Path, str], tmp_path: Path) -> None:
    outputs = whole_run[0].parent
    _, err = train(tiny, "whole", "--train_outputs", outputs, expect=2)
    assert "holds a training already; --resume 1 continues it" in err
    _, err = train(tiny, "x", "--coco_classes", "[background, cat, dog]", "--num_classes", 3, expect=2)
    assert "cat" in err and "circle" in err and err.count("\n") == 1
    _, err = train(tiny, "x", "--batch_size", 64, expect=2)
    assert "fewer than" in err
    _, err = train(tiny, "x", "--pre_trained", tmp_path / "none.ckpt", expect=2)
    assert "none.ckpt does not exist" in err


def test_a_folder_belongs_to_one_training(tiny: Path, whole_run: tuple[Path, str]) -> None:
    """What a killed process was writing is cleared by the next training that has the folder for itself."""
    folder = whole_run[0]
    leftover = folder / "checkpoints/.writing_killed"
    leftover.mkdir()
    (leftover / "weights.ckpt").write_text("half")
    arguments = ("--train_outputs", folder.parent)
    with sole_user(folder, "training"):
        _, err = train(tiny, "whole", *arguments, "--resume", 1, expect=2)
    assert f"error: {folder}: another training (process {os.getpid()} on " in err
    assert err.count("\n") == 1
    assert leftover.exists()
    train(tiny, "whole", *arguments, expect=2)
    assert not leftover.exists()


def test_fine_tuning_loads_what_fits_and_names_the_rest(tiny: Path, whole_run: tuple[Path, str], tmp_path) -> None:
    arrays = load_checkpoint_weights(whole_run[0] / "checkpoints" / "last.ckpt")
    arrays["bbox_head.retina_cls.bias"] = np.zeros(720, np.float32)
    save_weights(tmp_path / "other.ckpt", arrays)
    arguments = ("--pre_trained", tmp_path / "other.ckpt", "--epoch_size", 1, "--train_dataset_num", 4)
    out, _ = train(tiny, "fine", "--finetune", 1, *arguments)
    assert "1 entries do not" in out
    assert "bbox_head.retina_cls.bias has shape (720,), the network (36,)" in out
    _, err = train(tiny, "strict", *arguments, expect=2)
    assert "bbox_head.retina_cls.bias has shape (720,)" in err


def test_accumulation_warning_and_pynative_mode(tiny: Path) -> None:
    arguments = ("--train_dataset_num", 8, "--epoch_size", 1, "--accumulate_step", 2, "--mode", "pynative")
    out, _ = train(tiny, "pynative", *arguments)
    assert "--lr 0.004 would match" in out
    assert len(LOG_LINE.findall(out)) == 2


def test_an_update_reaches_all_weights_of_a_demo(tmp_path: Path, shapes: Path) -> None:
    """Weights, moments and averages after one update are those of one update.

    What the compiler does not know to be written it may copy first, in networks of this size and not in the tiny one.
    """
    data = ("--train_dataset", shapes / "train", "--val_dataset", shapes / "validation", "--train_outputs", tmp_path)
    few = ("--train_dataset_num", 8, "--batch_size", 8, "--epoch_size", 1, "--ema_decay", 0.998)
    rest = ("--run_eval", 0, "--num_gts", 32)
    run(
        "train.py",
        "--config_path",
        ROOT / "configs/demo/nas_fpn.yaml",
        "--brief",
        "one",
        *data,
        *few,
        *rest,
        cwd=tmp_path,
    )
    assert_one_update(tmp_path / "one/checkpoints/last.ckpt", decay=0.01)


def assert_one_update(path: Path, decay: float) -> None:
    saved = ms.load_checkpoint(str(path))
    rate = float(saved["optimizer/learning_rate"].asnumpy())
    averaged = [name.removeprefix("average/") for name in saved if name.startswith("average/")]
    names = [name for name in averaged if f"optimizer/adam_m.{name}" in saved]
    assert len(names) > 100
    for name in names:
        parts = (name, f"average/{name}", f"optimizer/adam_m.{name}", f"optimizer/adam_v.{name}")
        weight, average, first, second = (saved[part].asnumpy().astype(np.float64) for part in parts)
        change = rate * first / (np.sqrt(second) + 1e-6)
        before = (weight + change) / (1 - rate * decay * name.endswith(".weight"))
        np.testing.assert_allclose(average, 0.1 * before + 0.9 * weight, rtol=1e-4, atol=1e-6, err_msg=name)
