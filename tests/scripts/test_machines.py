"""Several machines, each of which runs the same script: what is refused, what is started, how they end together."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scripts.ascend_machine import AscendMachine, planned
from tests.scripts.stand_in_cluster import Cluster, wait_until

COMMANDS = {
    "nas_fpn/run_distribute_train.sh": ["4", "", ""],
    "refinedet/run_distribute_train.sh": ["4", "500", "0.05", "coco", ""],
    "refinedet/run_distribute_train_gpu.sh": ["4", "500", "0.05", "coco"],
    "run_distribute_train.sh": ["c.yaml", "4", "", ".", ".", "out", "x"],
    "run_distribute_train_gpu.sh": ["c.yaml", "4", ".", ".", "out", "x"],
}
SECOND = {"NODE_NUM": "2", "NODE_RANK": "1", "MASTER_ADDR": "192.0.2.1"}  # an address that no machine has


@pytest.fixture
def ascend(tmp_path: Path) -> AscendMachine:
    machine = AscendMachine(tmp_path)
    (tmp_path / "c.yaml").write_text("detector: refinedet\n")
    return machine


@pytest.mark.parametrize("device", ["CPU", "GPU", "Ascend"])
@pytest.mark.parametrize("script", COMMANDS)
def test_every_script_starts_the_ranks_of_its_machine(script: str, device: str, ascend: AscendMachine) -> None:
    done = ascend.run(script, *COMMANDS[script], DRY_RUN="1", DEVICE_TARGET=device, **SECOND)
    assert "dry run: msrun would start 2 of 4 processes on this machine" in done.stdout
    started = [(v["RANK_ID"], v["RANK_SIZE"], v["DEVICE_ID"]) for v, _ in planned(done)]
    assert started == [("2", "4", "0"), ("3", "4", "1")]
    assert all(words[words.index("--device_num") + 1] == "4" for _, words in planned(done))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"NODE_NUM": "0"}, "NODE_NUM: must be a whole number from 1, not '0'"),
        ({"NODE_NUM": "two"}, "NODE_NUM: must be a whole number from 1, not 'two'"),
        ({"NODE_RANK": "2"}, "NODE_RANK: must be at most 1, not 2"),
        ({"NODE_RANK": "-1"}, "NODE_RANK: must be a whole number from 0, not '-1'"),
        ({"NODE_NUM": "1"}, "NODE_RANK: must be at most 0, not 1"),
        ({"NODE_NUM": "3"}, "DEVICE_NUM: must be a multiple of NODE_NUM, 3, not 4: all machines have as many devices"),
        ({"MASTER_PORT": "80"}, "MASTER_PORT: must be a whole number from 1024, not '80'"),
        ({"MASTER_PORT": "65535"}, "MASTER_PORT: must be at most 65534, not 65535"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR: NODE_NUM is 2, so the address of machine 0 is needed"),
        ({"MASTER_ADDR": "no such host"}, "MASTER_ADDR: this machine knows no address of 'no such host'"),
        ({"MASTER_ADDR": "127.0.0.1"}, "MASTER_ADDR: 127.0.0.1 is 127.0.0.1 here, where other machines cannot reach"),
        ({"NODE_RANK": "0"}, "MASTER_ADDR: must be an address of machine 0, which is this one (NODE_RANK), not 192."),
        ({"LAUNCHER": "mpirun"}, "LAUNCHER: must be msrun for several machines (NODE_NUM), not 'mpirun'"),
    ],
)
def test_mistakes(changes: dict[str, str], message: str, ascend: AscendMachine) -> None:
    before = sorted(ascend.folder.iterdir())
    script = "refinedet/run_distribute_train_gpu.sh"
    done = ascend.run(script, *COMMANDS[script], DEVICE_TARGET="CPU", **{**SECOND, **changes})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(ascend.folder.iterdir()) == before


def test_a_rank_table_lists_the_machines_itself(ascend: AscendMachine) -> None:
    done = ascend.run("refinedet/run_distribute_train.sh", "2", "500", "0.05", "coco", "table.json", **SECOND)
    assert done.returncode == 2
    assert done.stderr == "error: NODE_NUM: a rank table lists the machines; give '' as RANK_TABLE_FILE to go without\n"


class Machines(Cluster):
    """Two machines that are one, so that the address of the first is not looked at."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        python = self.bin / "python"
        python.write_text(
            python.read_text().replace("esac", 'esac\ncase "$*" in *master_address*) echo 127.0.0.1; exit;; esac', 1)
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = min(free.getsockname()[1], 65534)

    def begin(self, number: int) -> subprocess.Popen[str]:
        """Start the part of machine `number`, which has one rank of that number."""
        return self.start(
            table="", DEVICE_TARGET="CPU", NODE_NUM="2", NODE_RANK=str(number),
            MASTER_ADDR="here", MASTER_PORT=str(self.port), OUTPUT_DIR=str(self.folder / f"out_{number}"),
        )  # fmt: skip

    def folder_of(self, number: int) -> Path:
        return self.folder / f"out_{number}/ckpt/processes{'_machine_1' if number else ''}"

    def step(self, rank: int) -> int:
        path = self.folder_of(rank) / f"rank_{rank}.step"
        return int(path.read_text() or 0) if path.exists() else 0


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(tmp_path)
    yield machines
    for process in machines.alive():
        os.kill(process, signal.SIGKILL)


def training(machines: Machines) -> list[subprocess.Popen[str]]:
    """Both machines' scripts, once each has made three steps and knows of the other."""
    parts = [machines.begin(number) for number in (0, 1)]
    wait_until(lambda: all(machines.step(rank) >= 3 for rank in (0, 1)))
    for part in parts:
        while "has joined" not in (line := part.stdout.readline()):
            assert line
    return parts


@pytest.mark.parametrize("lost", [0, 1])
def test_a_killed_machine_ends_the_other_with_its_name(lost: int, machines: Machines) -> None:
    parts = training(machines)
    parts[lost].kill()
    _, err = parts[1 - lost].communicate(timeout=60)
    assert parts[1 - lost].returncode == 1
    assert err.splitlines()[0] == f"machine {lost} ({socket.gethostname()}) no longer answers"
    wait_until(lambda: not machines.alive(), 30)


def test_a_killed_rank_ends_the_other_machine_with_its_name(machines: Machines) -> None:
    parts = training(machines)
    machines.notes = machines.folder_of(1)
    machines.kill_rank(1)
    endings = [part.communicate(timeout=60)[1].splitlines()[0] for part in parts]
    assert [part.returncode for part in parts] == [128 + signal.SIGKILL] * 2
    assert endings[1].startswith("rank 1 was ended by SIGKILL after step ")
    assert endings[0] == f"machine 1 ({socket.gethostname()}): {endings[1]}"
    wait_until(lambda: not machines.alive(), 30)


@pytest.mark.parametrize("asked", [0, 1])
def test_a_signal_to_one_machine_saves_on_machine_0_and_ends_both(asked: int, machines: Machines) -> None:
    parts = training(machines)
    parts[asked].terminate()
    errors = [part.communicate(timeout=60)[1] for part in parts]
    assert [part.returncode for part in parts] == [143, 143]
    assert errors[asked] == "stopping: asking every process to save its work\n"
    assert (machines.folder / "saved").exists()
    wait_until(lambda: not machines.alive(), 30)


def test_a_shared_folder_is_written_by_both(machines: Machines) -> None:
    parts = [machines.start(
        table="", DEVICE_TARGET="CPU", NODE_NUM="2", NODE_RANK=str(number), MASTER_ADDR="here",
        MASTER_PORT=str(machines.port), STEPS="3",
    ) for number in (0, 1)]  # fmt: skip
    notes = [machines.run_folder / name for name in ("processes", "processes_machine_1")]
    wait_until(lambda: all((folder / "joined").exists() for folder in notes))
    wait_until(lambda: all((notes[rank] / f"rank_{rank}.step").exists() for rank in (0, 1)))
    parts[0].terminate()
    for part in parts:
        part.communicate(timeout=60)
    assert [part.returncode for part in parts] == [143, 143]
    assert [sorted(path.name for path in folder.glob("worker_*")) for folder in notes] == [
        ["worker_0.log"], ["worker_1.log"],
    ]  # fmt: skip
