"""The style of all files: ruff and mypy for Python, shellcheck for the scripts."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.shell import ROOT, SCRIPTS


@pytest.mark.parametrize("arguments", [("check",), ("format", "--check")], ids=["lint", "format"])
def test_python_files_are_clean(arguments: tuple[str, ...]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_types_are_right(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr


def test_ignored_rules_are_named() -> None:
    blanket = re.compile(r"#\s*(noqa|type:\s*ignore)(?![:\[])|#\s*ruff:\s*noqa")
    found = [path for path in sorted((ROOT / "src").rglob("*.py")) if blanket.search(path.read_text(encoding="utf-8"))]
    assert found == []


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
