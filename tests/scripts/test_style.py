"""The style of all files: ruff for Python, shellcheck for the scripts."""

import shutil
import subprocess
import sys

import pytest

from tests.scripts.shell import ROOT, SCRIPTS


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_python_files_are_clean(arguments: tuple[str, ...]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_scripts_pass_shellcheck() -> None:
    shellcheck = shutil.which("shellcheck", path=str(sys.prefix) + "/bin") or shutil.which("shellcheck")
    assert shellcheck, "shellcheck is missing; requirements-dev.txt has it"
    scripts = [*sorted(SCRIPTS.rglob("*.sh")), ROOT / ".ci/run"]
    result = subprocess.run([shellcheck, *map(str, scripts)], cwd=SCRIPTS, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_every_requirement_is_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert line.count("==") == 1, f"{name}: {line}"
