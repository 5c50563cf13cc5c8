"""Which device is taken, and what launchers say."""

from pathlib import Path

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.model_utils import device_adapter
from src.model_utils.device_adapter import find_device, setup_device
from src.model_utils.local_adapter import _step_file, launched_as, note_step

ROOT = Path(__file__).parents[2]
OPEN_MPI = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK")
MSRUN = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "MS_NODE_ID", "MS_WORKER_NUM", "MS_ROLE")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPEN_MPI + MSRUN:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        (
            {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
            (5, 8, 1),
        ),
        ({"RANK_ID": "1", "RANK_SIZE": "2", "DEVICE_ID": "3", "MS_ROLE": "MS_WORKER"}, (1, 2, 3)),
        ({"RANK_ID": "0", "RANK_SIZE": "2", "MS_WORKER_NUM": "2", "MS_ROLE": "MS_SCHED"}, (0, 2, 0)),
        ({"RANK_ID": "x", "RANK_SIZE": "2", "DEVICE_ID": "0"}, None),
    ],
)
def test_launchers(variables: dict[str, str], expected: tuple | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched_as() == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo 'GPU 0: some card'", "GPU"), ("echo 'No devices were found'", "CPU"), ("exit 9", "CPU")],
)
def test_the_best_device_that_is_there(tmp_path: Path, monkeypatch, script: str, expected: str) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(device_adapter, "DEVICE_FILES", tmp_path)
    assert find_device() == expected
    (tmp_path / "davinci0").touch()
    assert find_device() == "Ascend"


def test_a_device_that_is_not_there_is_one_line() -> None:
    config = load_config(ROOT / "configs/demo/spinenet_retinanet.yaml", {"device_target": "Ascend"})
    with pytest.raises(UserError, match="device_target Ascend is not usable here.*CPU always is") as caught:
        setup_device(config)
    assert "\n" not in str(caught.value)


def test_the_scheduler_says_that_a_process_died(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its communication did start: its `init` lasts as long as the training."""
    from mindspore import communication

    def init() -> None:
        raise RuntimeError("The total number of timed out node is 1. Timed out node list is: {1}\nC++ stack")

    monkeypatch.setattr(communication, "init", init)
    with pytest.raises(UserError, match="communication did not start on CPU"):
        device_adapter._join("CPU", (0, 2, 0))
    monkeypatch.setenv("MS_ROLE", "MS_SCHED")
    with pytest.raises(UserError, match="a process of the training died or no longer answers.* node list is: .1}.$"):
        device_adapter._join("CPU", (0, 2, 0))


def test_steps_are_noted_for_the_launching_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "none/step", tmp_path / "step"):  # a folder that is gone must not end the training
        monkeypatch.setenv("STEP_FILE", str(path))
        _step_file.cache_clear()
        note_step(9)
        note_step(10)
    _step_file.cache_clear()
    assert (tmp_path / "step").read_text() == "10"
