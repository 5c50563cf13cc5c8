"""A machine whose launchers and trainings are stand-ins, see `cluster`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.scripts import cluster
from tests.scripts.ascend_machine import AscendMachine
from tests.scripts.shell import SCRIPTS

SCRIPT = "refinedet/run_distribute_train.sh"
ARGUMENTS = ("500", "0.05", "coco")


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

    def start(
        self, launcher: str = "msrun", number: str = "2", table: str = "table.json", **variables: str
    ) -> subprocess.Popen[str]:
        """Start a training of two processes by a script."""
        script, arguments = SCRIPT, [number, *ARGUMENTS, table]
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
