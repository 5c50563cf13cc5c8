"""Two processes on the CPU, started with msrun: what they compute. test_scripts.py has how they end."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from src.weights.checkpoint import load_checkpoint_weights
from tests.end_to_end.commands import ROOT, TINY_CONFIG, environment, logged, run
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


def test_two_processes_train_like_one_with_twice_the_batch(tmp_path: Path, shapes: Path) -> None:
    """One process by train.py, two by the script."""
    config = tmp_path / "one_epoch.yaml"
    frozen = "{norm_cfg: {frozen: True}}"
    parts = f"backbone: {frozen}\nneck: {{nas_fpn: {frozen}}}\nbbox_head: {frozen}\n"
    config.write_text(f"base: tiny.yaml\n{parts}epoch_size: 1\nopt_type: sgd\nbatch_size: 2\n")
    (tmp_path / "tiny.yaml").write_text(TINY_CONFIG)
    data = ("--train_dataset", shapes / "train", "--train_outputs", "out")
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
