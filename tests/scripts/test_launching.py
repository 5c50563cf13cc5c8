"""How launch.sh ends what it has started, with stand-ins for msrun, mpirun and the training."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.shell import SCRIPTS
from tests.scripts.stand_in_cluster import Cluster, wait_until

LAUNCHERS = ("msrun", "rank_table", "mpirun")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Cluster]:
    machine = Cluster(tmp_path)
    yield machine
    for process in machine.alive():
        os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_nothing_outlives_a_killed_launcher(launcher: str, machine: Cluster) -> None:
    process = machine.training(launcher)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not machine.alive(), 30)
    assert (machine.folder / "saved").exists()


@pytest.mark.parametrize(("launcher", "rank"), [("msrun", 1), ("rank_table", 0)])
def test_a_killed_rank_is_named_with_its_step(launcher: str, rank: int, machine: Cluster) -> None:
    process = machine.training(launcher)
    least = machine.step(rank)
    machine.kill_rank(rank)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    message, end = err.splitlines()
    assert message.startswith(f"rank {rank} was ended by SIGKILL after step ")
    assert least <= int(message.split()[-1]) <= machine.step(rank)
    assert end.startswith("error: a process failed, so the whole run was ended")
    wait_until(lambda: not machine.alive(), 5)


def test_mpirun_shows_which_rank_was_killed(machine: Cluster) -> None:
    process = machine.training("mpirun")
    machine.kill_rank(1)
    wait_until(lambda: (machine.notes / "failed").exists())
    process.kill()
    assert "rank 1 was ended by SIGKILL after step " in process.communicate(timeout=60)[1]


def test_mpirun_has_a_scheduler_on_the_cpu(machine: Cluster) -> None:
    process = machine.training("mpirun", DEVICE_TARGET="CPU")
    wait_until(lambda: (machine.notes / "rank_scheduler.pid").exists())
    environments = []
    for pid, command in machine.alive().items():
        if command.endswith("cluster.py train "):
            entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
            environments.append(dict(entry.split("=", 1) for entry in entries if entry))
    assert {(e["MS_ROLE"], e["MS_NODE_ID"]) for e in environments if e["MS_ROLE"] == "MS_WORKER"} == {
        ("MS_WORKER", "0"), ("MS_WORKER", "1"),
    }  # fmt: skip
    assert [e["MS_ROLE"] for e in environments].count("MS_SCHED") == 1
    assert {(e["MS_WORKER_NUM"], e["MS_SCHED_HOST"], e["MS_SCHED_PORT"]) for e in environments} == {
        ("2", "127.0.0.1", environments[0]["MS_SCHED_PORT"])
    }
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not machine.alive(), 30)


def test_nothing_outlives_a_killed_msrun(machine: Cluster) -> None:
    process = machine.training()
    machine.kill("cluster.py msrun")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL
    assert err.splitlines()[0] == "msrun was ended by SIGKILL"
    wait_until(lambda: not machine.alive(), 5)


@pytest.mark.parametrize(("launcher", "number"), [("msrun", signal.SIGTERM), ("rank_table", signal.SIGHUP)])
def test_signals_save_and_end_everything(launcher: str, number: signal.Signals, machine: Cluster) -> None:
    process = machine.training(launcher)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert err == "stopping: asking every process to save its work\n"
    assert (machine.folder / "saved").exists()
    wait_until(lambda: not machine.alive(), 5)


def test_a_second_signal_ends_what_does_not_stop(machine: Cluster) -> None:
    process = machine.training(HANGS="1")
    process.terminate()
    assert process.stderr.readline() == "stopping: asking every process to save its work\n"
    assert machine.alive()
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 143
    wait_until(lambda: not machine.alive(), 5)


def test_a_second_signal_while_a_command_fails(tmp_path: Path) -> None:
    code = f"""set -euo pipefail
PROJECT_ROOT={SCRIPTS.parent}
source "$PROJECT_ROOT/scripts/launch.sh"
stop_on_signals {tmp_path} 0
for number in 1 2; do
    if bash -c "kill -TERM $$; exit 1"; then echo never; fi
done
finish msrun 1 {tmp_path}"""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "stopping: asking every process to save its work\n"


@pytest.mark.parametrize("begun", [0, 2])
def test_a_signal_while_processes_are_being_started(begun: int, machine: Cluster) -> None:
    process = machine.start(number="16", SPAWN_SECONDS="0.5", STEPS="0")
    wait_until(lambda: len(list(machine.notes.glob("rank_[0-9]*.pid"))) >= begun and machine.notes.exists())
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode in (143, -signal.SIGTERM)  # the latter before anything was started
    assert len(list(machine.notes.glob("worker_*.log"))) < 16
    wait_until(lambda: not machine.alive(), 5)


def test_a_second_training_leaves_the_first_alone(machine: Cluster) -> None:
    first = machine.training()
    expected = (
        f"error: {machine.run_folder}: another training is writing into this folder; wait for its end, or choose "
        "another folder\n"
    )
    second = machine.start()
    err = second.communicate(timeout=60)[1]
    assert (second.returncode, err) == (2, expected)
    step = machine.step(1)
    wait_until(lambda: machine.step(1) > step)
    first.terminate()
    first.communicate(timeout=60)
    assert first.returncode == 143
    with (machine.run_folder / ".lock").open("w") as lock:  # of a training that no script started
        fcntl.flock(lock, fcntl.LOCK_EX)
        third = machine.start()
        err = third.communicate(timeout=60)[1]
    assert (third.returncode, err) == (2, expected)
    assert (machine.notes / "worker_1.log").read_text() == "training with rank 1\n"
