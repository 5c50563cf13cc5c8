"""A machine with Ascend devices, and a Python whose programs only say what they were given."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

from tests.scripts.shell import run_script

# Says what it was given. FAIL_RANK: that rank fails after a moment, the others wait until they are asked to stop.
STAND_IN = f"""#!/bin/sh
case "$*" in
    *train.py* | *eval.py* | *src.commands.infer_files* | *postprocess.py*) ;;
    *) exec "{sys.executable}" "$@" ;;
esac
echo "started rank ${{RANK_ID:-none}} of ${{RANK_SIZE:-none}} on device ${{DEVICE_ID:-none}}"
echo "table ${{RANK_TABLE_FILE:-none}}"
shift
printf '%s\\n' "$@"
if [ "$FAIL_RANK" = "$RANK_ID" ] && [ -n "$RANK_ID" ]; then
    sleep 0.5
    echo "error: disk full on rank $RANK_ID" >&2
    exit 2
fi
if [ -n "$FAIL_RANK$WAIT" ]; then
    trap 'echo "asked to stop"; exit 143' TERM
    for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & wait $!; done
    echo "nobody asked to stop"
fi
"""


def planned(done: subprocess.CompletedProcess[str]) -> list[tuple[dict[str, str], list[str]]]:
    """(variables, words from the program on) of each rank of a dry run."""
    assert done.returncode == 0, done.stderr
    ranks = []
    for line in done.stdout.splitlines():
        if line.startswith("rank "):
            words = shlex.split(line.split(": ", 1)[1])
            program = next(i for i, word in enumerate(words) if word.endswith(".py"))
            variables = dict(word.split("=", 1) for word in words[: program - 1])
            ranks.append((variables, words[program:]))
    return ranks


class AscendMachine:
    """Runs scripts in a folder that holds what their arguments name: mindrecord/, x.ckpt, table.json.

    Args:
        folder: an empty one.
        devices: number of Ascend devices that the machine seems to have.
    """

    def __init__(self, folder: Path, devices: int = 2) -> None:
        self.folder, self.bin = folder, folder / "bin"
        (folder / "mindrecord").mkdir()
        (folder / "x.ckpt").write_bytes(b"x")
        self.bin.mkdir()
        self.program("python", STAND_IN)
        self.program("find", "#!/bin/sh\n" + "".join(f"echo /dev/davinci{i}\n" for i in range(devices)))
        self.write_table([4, 5])

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def write_table(self, *devices_of_servers: list[int]) -> Path:
        """A rank table of servers 10.0.0.1, 10.0.0.2, ... with these device ids."""
        servers, rank = [], 0
        for number, devices in enumerate(devices_of_servers, 1):
            entries = []
            for device in devices:
                entries.append({"device_id": str(device), "device_ip": f"192.{rank}.1.6", "rank_id": str(rank)})
                rank += 1
            servers.append({"server_id": f"10.0.0.{number}", "device": entries})
        path = self.folder / "table.json"
        path.write_text(json.dumps({"server_count": str(len(servers)), "server_list": servers}))
        return path

    def run(self, script: str, *arguments: str | Path, **environment: str | None) -> subprocess.CompletedProcess[str]:
        """Run a script; its Python is the stand-in."""
        return run_script(script, *arguments, cwd=self.folder, **self.environment(**environment))

    def environment(self, **changes: str | None) -> dict[str, str | None]:
        unset = dict.fromkeys(("DEVICE_TARGET", "LAUNCHER", "CONFIG_PATH", "OUTPUT_DIR", "SERVER_ID", "DRY_RUN"))
        path = f"{self.bin}:/usr/local/bin:/usr/bin:/bin"
        return {**unset, "PATH": path, "PYTHON": str(self.bin / "python"), **changes}
