"""The scripts as a user runs them, on the CPU, with a tiny network and a tiny data set."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.end_to_end.commands import ROOT, TINY_CONFIG, logged
from tests.scripts.shell import SCRIPTS, run_script


def tiny_config(folder: Path, extra: str = "") -> Path:
    """Configuration file of one epoch of two steps; the scripts give the data and the outputs."""
    path = folder / "tiny.yaml"
    path.write_text(TINY_CONFIG + "epoch_size: 1\ntrain_dataset_num: 4\n" + extra)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, shapes: Path) -> tuple[Path, subprocess.CompletedProcess]:
    """Folder in which run_standalone_train_gpu.sh ran, and what it printed."""
    folder = tmp_path_factory.mktemp("standalone")
    config = tiny_config(folder)
    result = run_script(
        "run_standalone_train_gpu.sh", config, shapes / "train", shapes / "validation", "out", "first",
        cwd=folder, timeout=300, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result


def test_standalone_training(trained: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, result = trained
    assert "INFO: epoch: 1, step: 2, loss: " in result.stdout
    assert (folder / "out/first/checkpoints/last.ckpt").is_file()
    assert (folder / "LOG/first/train.log").read_text().splitlines()[-1] == result.stdout.splitlines()[-1]
    assert list(logged(folder / "out/first")) == [1, 2]


def test_evaluation_writes_then_reads_predictions(
    trained: tuple[Path, subprocess.CompletedProcess], shapes: Path
) -> None:
    folder, _ = trained
    arguments = (folder / "tiny.yaml", shapes / "validation", "out/first/checkpoints/last.ckpt", "found.json")
    first = run_script("run_eval_gpu.sh", *arguments, cwd=folder, timeout=300, DEVICE_TARGET="CPU")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ]" in first.stdout
    assert isinstance(json.loads((folder / "found.json").read_text()), list)
    second = run_script("run_eval_gpu.sh", *arguments, cwd=folder, timeout=300, DEVICE_TARGET="CPU")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "the network does not run" in second.stdout
    table = [line for line in first.stdout.splitlines() if line.startswith(" Average")]
    assert len(table) == 12
    assert [line for line in second.stdout.splitlines() if line.startswith(" Average")] == table


def test_inference_on_a_folder(trained: tuple[Path, subprocess.CompletedProcess], shapes: Path) -> None:
    folder, _ = trained
    result = run_script(
        "run_infer_gpu.sh", "tiny.yaml", "out/first/checkpoints/last.ckpt", shapes / "validation/data", "boxes.json",
        cwd=folder, timeout=300, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    predictions = json.loads((folder / "boxes.json").read_text())
    assert len(predictions) == 6
    assert all(entry["height"] == entry["width"] == 128 for entry in predictions.values())


def start_distributed(folder: Path, shapes: Path, brief: str) -> subprocess.Popen:
    """Start run_distribute_train_gpu.sh with two processes that train for longer than a test waits."""
    config = tiny_config(folder, "epoch_size: 200\ntrain_dataset_num: 0\n")
    return subprocess.Popen(
        ["bash", SCRIPTS / "run_distribute_train_gpu.sh", config, "2", shapes / "train", shapes / "validation", "out",
         brief],
        cwd=folder, env={**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for_steps(process: subprocess.Popen, run: Path) -> None:
    """Return when two steps are logged."""
    deadline = time.monotonic() + 300
    while not (run / "metrics.csv").is_file() or max(logged(run), default=0) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no step in five minutes"
        time.sleep(0.2)


def workers_of(run: Path) -> dict[int, int]:
    """{rank: process id} of the processes that train into `run`."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            variables = dict(item.split(b"=", 1) for item in (entry / "environ").read_bytes().split(b"\0") if item)
        except (OSError, ValueError):
            continue
        ours = str(run.parent).encode() in command and b"train.py" in command[1]
        if ours and variables.get(b"MS_ROLE") == b"MS_WORKER":
            rank, parent = int(variables[b"MS_NODE_ID"]), int((entry / "stat").read_text().split(") ")[1].split()[1])
            if rank not in found or parent not in found.values():
                found[rank] = int(entry.name)
    return found


def test_a_mistake_in_distributed_training_is_shown_once(tmp_path: Path, shapes: Path) -> None:
    config = tiny_config(tmp_path, "batch_size: 512\n")
    result = run_script(
        "run_distribute_train_gpu.sh", config, "2", shapes / "train", shapes / "validation", "out", "x",
        cwd=tmp_path, timeout=400, DEVICE_TARGET="CPU",
    )  # fmt: skip
    assert result.returncode != 0
    assert "fewer than" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: a process failed, so the whole run was ended")
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_a_process_that_dies_ends_the_whole_run(tmp_path: Path, shapes: Path) -> None:
    run = tmp_path / "out/dies"
    process = start_distributed(tmp_path, shapes, "dies")
    wait_for_steps(process, run)
    workers = workers_of(run)
    os.kill(workers[1], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGKILL
    assert re.search(r"^rank 1 was ended by SIGKILL after step \d+$", err, re.MULTILINE)
    assert "a process failed, so the whole run was ended" in err
    assert "communication did not start" not in err
    assert workers_of(run) == {}


@pytest.mark.slow
def test_stopping_distributed_training_saves(tmp_path: Path, shapes: Path) -> None:
    run = tmp_path / "out/stopped"
    process = start_distributed(tmp_path, shapes, "stopped")
    wait_for_steps(process, run)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 143
    assert "--resume 1 continues" in (run / "train.log").read_text()
    assert (run / "checkpoints/last.ckpt").is_file()
    assert workers_of(run) == {}


def this_environment(folder: Path) -> Path:
    """An environment for the scripts that is this Python, marked as set up, so that nothing is installed."""
    python = folder / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    version = subprocess.run([sys.executable, "--version"], capture_output=True, check=True).stdout
    content = (ROOT / "requirements.txt").read_bytes() * 2 + version
    (folder / "venv/installed-requirements.txt").write_text(hashlib.sha256(content).hexdigest() + "\n")
    return folder / "venv"


class TestDemo:
    """run_demo.sh, shortened to two steps. The other demos' programs are run by test_learning.py and test_masks.py."""

    @staticmethod
    def demo(
        folder: Path, *arguments: str, timeout: float = 500, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        sizes = {"DEMO_TRAIN_IMAGES": "32", "DEMO_VAL_IMAGES": "4", "DEMO_DIR": str(folder / "demo")}
        venv = folder / "venv" if (folder / "venv").exists() else this_environment(folder)
        return run_script(
            "run_demo.sh", *arguments, cwd=folder, timeout=timeout, VENV_DIR=str(venv), DEVICE_TARGET="CPU",
            **{**sizes, **environment},
        )  # fmt: skip

    @pytest.mark.slow
    def test_every_step(self, tmp_path: Path) -> None:
        result = self.demo(tmp_path, "mask_rcnn", "--epoch_size", "1")
        assert result.returncode == 0, result.stdout + result.stderr
        steps = ("== 1/5", "== 2/5", "== 3/5", "== 4/5", "== 5/5")
        for expected in (*steps, "area=   all", "What to try next", "mask AP (0.50:0.95) on the held-out images: "):
            assert expected in result.stdout
        folder = tmp_path / "demo"
        for name in ("training/curves.png", "pictures/000001.png", "pictures/page_001.png"):
            assert (folder / name).read_bytes().startswith(b"\x89PNG"), name
        assert len(json.loads((folder / "predictions.json").read_text())) == 4

    def test_a_failing_step_ends_the_demo(self, tmp_path: Path) -> None:
        result = self.demo(tmp_path, "--epoch_sizes", "1")
        assert result.returncode == 2
        assert "epoch_size" in result.stderr
        assert "== 4/5" not in result.stdout
