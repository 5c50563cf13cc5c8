"""How launch.sh ends what it has started, with stand-ins for msrun, mpirun and the training."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.scripts import cluster
from tests.scripts.ascend_machine import AscendMachine
from tests.scripts.shell import SCRIPTS

SCRIPT = "refinedet/run_distribute_train.sh"
ARGUMENTS = ("2", "500", "0.05", "coco", "table.json")
LAUNCHERS = ("msrun", "rank_table", "mpirun")


class Cluster(AscendMachine):
    """A machine whose launchers and trainings are those of `cluster`; its variable MACHINE marks all that it starts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.run_folder = folder / "LOG_2p/ckpt"
        self.notes = self.run_folder / "processes"
        stand_in = f'exec "{sys.executable}" -S "{cluster.__file__}"'
        self.program(
            "python",
            f"""#!/bin/sh
case "$1 $2" in
    */train.py*) {stand_in} train ;;
    *cluster.run) {stand_in} msrun "$@" ;;
esac
exec "{sys.executable}" "$@"
""",
        )
        self.program("python3", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        self.program("mpirun", f'#!/bin/sh\n{stand_in} mpirun "$@"\n')
        self.program("nvidia-smi", "#!/bin/sh\necho GPU 0: X\necho GPU 1: X\n")

    def start(self, launcher: str = "msrun", number: str = "2", **variables: str) -> subprocess.Popen[str]:
        """Start a training of two processes by a script."""
        script, arguments = SCRIPT, [number, *ARGUMENTS[1:]]
        if launcher == "mpirun":
            script, arguments = "refinedet/run_distribute_train_gpu.sh", arguments[:4]
        elif number != "2":
            arguments[4], variables["DEVICE_TARGET"] = "", "CPU"
        environment = {**os.environ, **self.environment(LAUNCHER=launcher, OUTPUT_DIR=str(self.run_folder.parent))}
        environment |= {"MACHINE": str(self.folder), **variables}
        return subprocess.Popen(
            ["bash", SCRIPTS / script, *arguments], cwd=self.folder, stdin=subprocess.DEVNULL,
            env={key: value for key, value in environment.items() if value is not None},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_hangups,
        )  # fmt: skip

    def training(self, launcher: str = "msrun", **variables: str) -> subprocess.Popen[str]:
        """The same, once both ranks have made three steps."""
        process = self.start(launcher, **variables)
        wait_until(lambda: all(self.step(rank) >= 3 for rank in (0, 1)))
        return process

    def step(self, rank: int) -> int:
        path = self.notes / f"rank_{rank}.step"
        return int(path.read_text() or 0) if path.exists() else 0

    def alive(self) -> dict[int, str]:
        """{id: command} of the processes that run on this machine."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"MACHINE={self.folder}\0" in (entry / "environ").read_text(errors="replace"):
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        return found

    def kill(self, *words: str) -> None:
        """SIGKILL for the one process whose command has these words."""
        (found,) = [pid for pid, command in self.alive().items() if all(word in command for word in words)]
        os.kill(found, signal.SIGKILL)

    def kill_rank(self, rank: int) -> None:
        """SIGKILL for the training process of a rank."""
        shell = int((self.notes / f"rank_{rank}.pid").read_text())
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        (child,) = [int(pid) for pid in children if "cluster.py" in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(child, signal.SIGKILL)


def heed_hangups() -> None:
    """Whoever runs the tests with nohup has SIGHUP ignored, and shells cannot trap what they were started to ignore."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "took too long"
        time.sleep(0.05)


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
