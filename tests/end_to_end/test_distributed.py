"""Two processes on the CPU, started with msrun."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from src.engine.checkpoint import load_checkpoint_weights
from tests.end_to_end.commands import FROZEN_NORM, ROOT, environment, logged, run

ONE_EPOCH = (*FROZEN_NORM, "--epoch_size", 1, "--opt_type", "sgd")


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


def test_two_processes_train_like_one_with_twice_the_batch(tiny: Path) -> None:
    work = tiny.parent
    common = ("--config_path", tiny, *ONE_EPOCH)
    run("train.py", *common, "--brief", "one", "--batch_size", 4, cwd=work)
    done = msrun("train.py", *common, "--brief", "two", "--batch_size", 2, "--device_num", 2, cwd=work)
    assert done.returncode == 0, (work / "msrun_log" / "worker_0.log").read_text()[-3000:]
    one, two = work / "out" / "one", work / "out" / "two"
    np.testing.assert_allclose(list(logged(two).values()), list(logged(one).values()), rtol=1e-4)
    expected, found = (load_checkpoint_weights(folder / "checkpoints" / "last.ckpt") for folder in (one, two))
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


def test_evaluation_on_two_processes_equals_one(tiny: Path) -> None:
    work = tiny.parent
    run("train.py", "--config_path", tiny, "--brief", "once", "--epoch_size", 1, cwd=work)
    checkpoint = work / "out" / "once" / "checkpoints" / "last.ckpt"
    common = ("--config_path", tiny, "--checkpoint_path", checkpoint, "--test_cfg.score_thr", 0.001)
    run("eval.py", *common, "--prediction_path", work / "one.json", cwd=work)
    done = msrun("eval.py", *common, "--prediction_path", work / "two.json", "--device_num", 2, cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    one, two = (sorted((work / name).read_text().split("},")) for name in ("one.json", "two.json"))
    assert len(one) > 20
    assert len(one) == len(two)


def test_a_failing_rank_ends_the_whole_run(tiny: Path) -> None:
    missing = tiny.parent / "none.ckpt"
    arguments = ("--config_path", tiny, "--brief", "x", "--pre_trained", missing, "--device_num", 2)
    done = msrun("train.py", *arguments, cwd=tiny.parent)
    assert done.returncode != 0
    assert "none.ckpt does not exist" in (tiny.parent / "msrun_log" / "worker_0.log").read_text()
