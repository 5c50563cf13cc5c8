"""Two machines for tests: network namespaces of this one, joined by a cable, each with a name of its own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.scripts.shell import SCRIPTS


class TwoMachines:
    """Machines 0 and 1, at 10.77.N.1 and 10.77.N.2; their names are first and second."""

    def __init__(self) -> None:
        number = os.getpid()
        self.spaces = [f"msdet{number}_{machine}" for machine in (0, 1)]
        self.cables = [f"md{number}_{machine}" for machine in (0, 1)]
        self.network = f"10.77.{number % 250}"

    def connect(self) -> None:
        for space in self.spaces:
            ip("netns", "add", space)
        ip("link", "add", self.cables[0], "netns", self.spaces[0], "type", "veth", "peer", "name", self.cables[1],
           "netns", self.spaces[1])  # fmt: skip
        for machine, (space, cable) in enumerate(zip(self.spaces, self.cables, strict=True)):
            ip("-n", space, "addr", "add", f"{self.network}.{machine + 1}/24", "dev", cable)
            for device in (cable, "lo"):
                ip("-n", space, "link", "set", device, "up")

    def cut(self) -> None:
        """Pull the cable."""
        ip("-n", self.spaces[1], "link", "set", self.cables[1], "down")

    def remove(self) -> None:
        for space in self.spaces:
            subprocess.run([IP, "netns", "del", space], capture_output=True)

    def start(self, machine: int, script: str, *arguments: object, cwd: Path) -> subprocess.Popen[str]:
        """Run a script on one machine."""
        name = ("first", "second")[machine]
        variables = {
            "PYTHON": sys.executable, "DEVICE_TARGET": "CPU", "NODE_NUM": "2", "NODE_RANK": str(machine),
            "MASTER_ADDR": f"{self.network}.1",
        }  # fmt: skip
        return subprocess.Popen(
            [IP, "netns", "exec", self.spaces[machine], "unshare", "--uts", "sh", "-c",
             f'hostname {name} && exec bash "$@"', "sh", SCRIPTS / script, *map(str, arguments)],
            cwd=cwd, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip


IP = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or "ip"


def ip(*words: str) -> None:
    subprocess.run([IP, *words], check=True, capture_output=True)


@contextmanager
def two_machines() -> Iterator[TwoMachines]:
    """Skips the test where namespaces are not allowed; whatever runs on the machines ends with the block."""
    machines = TwoMachines()
    try:
        try:
            machines.connect()
        except (OSError, subprocess.CalledProcessError) as error:
            reason = getattr(error, "stderr", b"") or str(error).encode()
            pytest.skip(f"two machines need network namespaces, which are not there: {reason.decode().strip()}")
        yield machines
    finally:
        for space in machines.spaces:
            listed = subprocess.run([IP, "netns", "pids", space], capture_output=True, text=True).stdout
            for process in listed.split():
                os.kill(int(process), signal.SIGKILL)
        machines.remove()
