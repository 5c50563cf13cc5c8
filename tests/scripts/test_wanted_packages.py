"""run_tests.sh installs what some tests need, and goes on without it where that fails."""

import subprocess
from pathlib import Path

import pytest

from tests.browser import NAMES
from tests.scripts.shell import SCRIPTS

# Runs one function of run_tests.sh, as that script does.
WITHOUT_THE_REST = """set -euo pipefail
source "$0/common.sh"
eval "$(sed -n "/^$1() {/,/^}/p" "$0/run_tests.sh")"
"$1"
"""


def want(function: str, folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Call a function of run_tests.sh on a machine that has these programs, {name: shell script}, and few others."""
    for name in ("bash", "dirname", "env", "sed", "true"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    for name, text in programs.items():
        (folder / name).write_text(f"#!/usr/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        ["/usr/bin/bash", "-c", WITHOUT_THE_REST, SCRIPTS, function],
        env={"PATH": str(folder)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("function", "package", "skipped"),
    [
        ("want_mpirun", "openmpi-bin", "the test of mpirun is skipped"),
        ("want_browser", "chromium", "the tests that open pages in a browser are skipped"),
    ],
)
def test_a_package_is_installed_or_done_without(tmp_path: Path, function: str, package: str, skipped: str) -> None:
    as_root = {"sudo": '[[ "$1" == -n ]] && shift; exec "$@"'}
    cases = [
        ({**as_root, "apt-get": 'echo "apt-get $*"'}, f"apt-get install -y -q --no-install-recommends {package}\n", ""),
        ({**as_root, "apt-get": "exit 100"}, f"without it: {skipped}\n", f"error: could not install {package}; "),
        ({}, f"without it: {skipped}\n", f"error: this machine lacks {package}; "),
    ]
    for number, (programs, output, error) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        done = want(function, folder, **programs)
        assert done.returncode == 0 and done.stdout.endswith(output), done
        assert done.stderr.startswith(error) and len(done.stderr.splitlines()) == bool(error), done


@pytest.mark.parametrize("name", NAMES)
def test_no_browser_is_installed_beside_another(tmp_path: Path, name: str) -> None:
    done = want("want_browser", tmp_path, **{name: "", "apt-get": 'echo "apt-get $*"', "sudo": "exit 0"})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
