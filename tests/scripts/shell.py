"""Runs the project's scripts as their user would."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"


def run_script(
    name: str,
    *arguments: str | Path,
    cwd: Path,
    timeout: float = 60,
    **environment: str | None,
) -> subprocess.CompletedProcess[str]:
    """Run `bash scripts/NAME ARGUMENT...` and return what it printed and its exit code.

    Args:
        name: file name in scripts/.
        arguments: of the script.
        cwd: folder it runs in.
        timeout: seconds until it is ended.
        environment: variables to set; None unsets one. PYTHON is this Python unless given.
    """
    variables = {**os.environ, "PYTHON": sys.executable, **environment}
    process = subprocess.Popen(
        ["bash", str(SCRIPTS / name), *map(str, arguments)],
        cwd=cwd,
        env={key: value for key, value in variables.items() if value is not None},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # SIGTERM: the script then ends what it started
        out, err = process.communicate(timeout=60)
        raise AssertionError(f"{name} took more than {timeout} s\n{out[-3000:]}\n{err[-3000:]}") from None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
