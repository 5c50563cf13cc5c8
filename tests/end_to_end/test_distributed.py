"""Two processes on the CPU, started with msrun or mpirun: what they compute. test_scripts.py has how they end."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.config import load_config
from src.weights.checkpoint import load_checkpoint_weights
from tests.end_to_end.commands import FROZEN_NORM, ROOT, TINY_CONFIG, environment, logged, run
from tests.scripts.shell import run_script


def msrun(program: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("msrun"), "--worker_num=2", "--local_worker_num=2", "--join=True"]
    command += [f"--master_port={port}", "--log_dir=msrun_log", ROOT / program, *arguments, "--run_distribute", 1]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment(PATH=path), capture_output=True, text=True, timeout=600
    )


@pytest.mark.slow
def test_two_processes_train_like_one_with_twice_the_batch(tmp_path: Path, shapes: Path) -> None:
    """One process by train.py, two by the script."""
    config = tmp_path / "one_epoch.yaml"
    frozen = "{norm_cfg: {frozen: True}}"
    parts = f"backbone: {frozen}\nneck: {{nas_fpn: {frozen}}}\nbbox_head: {frozen}\n"
    evaluation = "run_eval: 1\nval_loss: 1\nmain_metric: val_loss\n"
    config.write_text(f"base: tiny.yaml\n{parts}{evaluation}epoch_size: 1\nopt_type: sgd\nbatch_size: 2\n")
    (tmp_path / "tiny.yaml").write_text(TINY_CONFIG)
    data = ("--train_dataset", shapes / "train", "--val_dataset", shapes / "validation", "--train_outputs", "out")
    run("train.py", "--config_path", config, *data, "--brief", "one", "--batch_size", 4, cwd=tmp_path)
    done = run_script(
        "run_distribute_train_gpu.sh", config, "2", shapes / "train", shapes / "validation", "out", "two",
        cwd=tmp_path, timeout=400, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on CPU x 2" in done.stdout
    assert (tmp_path / "LOG/two/processes/worker_1.log").is_file()
    one, two = tmp_path / "out" / "one", tmp_path / "out" / "two"
    assert list(logged(two)) == list(range(1, 7))
    np.testing.assert_allclose(list(logged(two).values()), list(logged(one).values()), rtol=1e-4)
    expected, found = (load_checkpoint_weights(folder / "checkpoints" / "last.ckpt") for folder in (one, two))
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    for name in ("val_loss", "val_loss_cls", "val_loss_bbox"):
        (expected_loss,), (loss,) = (logged(folder, name, "eval").values() for folder in (one, two))
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-4, err_msg=name)
    assert (two / f"checkpoints/best_epoch_001_val_loss_{logged(two, 'val_loss', 'eval')[6]:.4f}.ckpt").is_file()
    saved = load_config(two / "config.yaml")
    assert (saved.run_distribute, saved.device_num) == (True, 2)
    done = run_script(
        "run_eval_gpu.sh", two / "config.yaml", shapes / "validation", two / "checkpoints/last.ckpt",
        cwd=tmp_path, timeout=400, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Bbox eval result" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun: apt-get install openmpi-bin")
def test_mpirun_trains_like_msrun(tmp_path: Path, shapes: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY_CONFIG + "epoch_size: 1\nopt_type: sgd\n")
    for launcher in ("msrun", "mpirun"):
        done = run_script(
            "run_distribute_train_gpu.sh", config, "2", shapes / "train", shapes / "validation", "out", launcher,
            *FROZEN_NORM, cwd=tmp_path, timeout=850, DEVICE_TARGET="CPU", LAUNCHER=launcher,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "on CPU x 2" in done.stdout
    expected, found = logged(tmp_path / "out/msrun"), logged(tmp_path / "out/mpirun")
    assert list(found) == list(range(1, 7))
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)


def test_one_process_trains_evaluates_predicts_and_exports_with_a_distributed_configuration(tiny: Path) -> None:
    work = tiny.parent
    several = ("--run_distribute", 1, "--device_num", 2, "--epoch_size", 1, "--train_dataset_num", 4)
    out, _ = run("train.py", "--config_path", tiny, "--brief", "alone", *several, cwd=work)
    assert "run_distribute is 1, but this process trains alone: scripts/run_distribute_train_gpu.sh" in out
    assert "on CPU x 1" in out
    checkpoint = work / "out/alone/checkpoints/last.ckpt"
    own = ("--checkpoint_path", checkpoint)
    out, _ = run("eval.py", *own, cwd=work)
    assert "Bbox eval result" in out
    saved = ("--config_path", work / "out/alone/config.yaml", *own)
    images = load_config(tiny).val_dataset
    run("infer.py", *saved, "--pred_input", f"{images}/data", "--pred_output", work / "found.json", cwd=work)
    assert (work / "found.json").is_file()
    run("export.py", *own, "--file_name", work / "net", "--file_format", "MINDIR", cwd=work)
    assert (work / "net.mindir").is_file()


def test_the_launchers_number_must_be_that_of_device_num(tiny: Path) -> None:
    done = msrun("train.py", "--config_path", tiny, "--brief", "three", "--device_num", 3, cwd=tiny.parent)
    assert done.returncode != 0
    logs = "".join(path.read_text() for path in (tiny.parent / "msrun_log").glob("worker_*.log"))
    assert "error: device_num is 3, but the launcher started 2 processes; --device_num 2 would fit" in logs


GATHERING = """
import mindspore as ms
from mindspore.communication import get_rank, init
from src.engine.exchange import CHUNK, gather_bytes

ms.set_context(mode=ms.GRAPH_MODE)
ms.set_device("CPU")
init()
rank = get_rank()
long = bytes(range(256)) * (CHUNK // 64 + 1) + b"end"  # a little more than one chunk
for given in ([b"", long], [long, b"x"], [b"", b""]):
    assert gather_bytes(given[rank], 2, keep=rank == 0) == ([] if rank else given)
print("all is here")
"""


def test_processes_hand_each_other_bytes_of_any_length(tmp_path: Path) -> None:
    program = tmp_path / "gathering.py"
    program.write_text(GATHERING)
    done = msrun(str(program), cwd=tmp_path)
    logs = [(tmp_path / f"msrun_log/worker_{rank}.log").read_text() for rank in (0, 1)]
    assert done.returncode == 0, "".join(logs)
    assert all("all is here" in log for log in logs)


@pytest.mark.slow
def test_evaluation_on_two_processes_equals_one(tiny: Path) -> None:
    work = tiny.parent
    run("train.py", "--config_path", tiny, "--brief", "once", "--epoch_size", 1, cwd=work)
    checkpoint = work / "out" / "once" / "checkpoints" / "last.ckpt"
    common = ("--config_path", tiny, "--checkpoint_path", checkpoint, "--test_cfg.score_thr", 0.001)
    run("eval.py", *common, "--prediction_path", work / "one.json", cwd=work)
    metrics = checkpoint.with_name("last_metrics.json")
    expected = json.loads(metrics.read_text())
    done = msrun("eval.py", *common, "--prediction_path", work / "two.json", "--device_num", 2, cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(metrics.read_text())
    assert (found["images"], found["detections"]) == (expected["images"], expected["detections"])
    assert found["stats"] == pytest.approx(expected["stats"], abs=1e-6)
    one, two = (sorted((work / name).read_text().split("},")) for name in ("one.json", "two.json"))
    assert len(one) > 20
    assert len(one) == len(two)


def test_all_processes_skip_an_update_that_overflows_on_one(tmp_path: Path) -> None:
    done = msrun("tests/end_to_end/overflow_on_one_rank.py", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    ranks = [dict(np.load(tmp_path / f"{rank}.npz")) for rank in (0, 1)]
    for values in ranks:
        assert [values[f"{step} scale"].tolist() for step in range(3)] == [[1024, 0], [512, 1], [512, 1]]
        names = {name.removeprefix("0 ") for name in values if name.startswith("0 ")} - {"scale"}
        assert {"head.weight", "moment1.head.weight", "beta1_power", "norm.moving_mean"} <= names
        for name in names:
            np.testing.assert_array_equal(values[f"1 {name}"], values[f"0 {name}"], err_msg=name)
        assert not np.array_equal(values["2 head.weight"], values["0 head.weight"])
    np.testing.assert_array_equal(ranks[0]["2 head.weight"], ranks[1]["2 head.weight"])
