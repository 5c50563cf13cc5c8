"""`tools/doctor.py`: on this machine, with a bare Python, and on trees of CUDA and CANN that are made up."""

import subprocess
import sys
from pathlib import Path

import pytest

from src.commands import doctor
from src.commands.doctor import ABSENT, GOOD, LACKING, WORSE, Finding, Machine, find_ascend, find_gpu, report

ROOT = Path(__file__).parents[2]
CUDA, CANN = ["10.1", "11.1", "11.6"], ["8.2", "8.3"]


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def gpu_machine(folder: Path, release: str = "11.6", libraries: tuple[str, ...] = ()) -> Machine:
    """One with two GPUs and a toolkit."""
    program(
        folder / "bin/nvidia-smi",
        'case "$1" in -L) echo "GPU 0: X"; echo "GPU 1: X" ;; *) echo 535.1; echo 535.1 ;; esac',
    )
    program(folder / "cuda/bin/nvcc", f"echo 'Cuda compilation tools, release {release}, V{release}.1'")
    for name in libraries:
        (folder / "cuda/lib64").mkdir(exist_ok=True)
        (folder / "cuda/lib64" / name).touch()
    return Machine(folder, {"PATH": f"{folder}/bin", "CUDA_HOME": f"{folder}/cuda"})


def ascend_machine(folder: Path, cann: str | None = "8.3.RC1", variable: bool = True) -> Machine:
    (folder / "dev").mkdir()
    (folder / "dev/davinci0").touch()
    (folder / "usr/local/Ascend/driver").mkdir(parents=True)
    (folder / "usr/local/Ascend/driver/version.info").write_text("Version=25.2.0\nascendhal_version=7\n")
    home = folder / "usr/local/Ascend/ascend-toolkit/latest"
    if cann is not None:
        (home / "compiler").mkdir(parents=True)
        (home / "compiler/version.info").write_text(f"Version={cann}\nversion_dir={cann}\n")
    return Machine(folder, {"PATH": "", **({"ASCEND_HOME_PATH": str(home)} if variable else {})})


def test_a_good_gpu(tmp_path: Path) -> None:
    machine = gpu_machine(tmp_path, libraries=("libcudart.so.11.0", "libcublas.so.11", "libcudnn.so.8"))
    assert find_gpu(machine, CUDA) == Finding("GPU", GOOD, "2, driver 535.1, CUDA 11.6")


@pytest.mark.parametrize(
    ("release", "libraries", "words"),
    [
        ("12.4", (), "MindSpore takes CUDA 11.1 or 11.6; set CUDA_HOME to it"),
        ("11.6", ("libcudart.so.11.0", "libcublas.so.11"), "libcudnn.so.8 into LD_LIBRARY_PATH"),
    ],
)
def test_cuda_that_does_not_fit(release: str, libraries: tuple[str, ...], words: str, tmp_path: Path) -> None:
    found = find_gpu(gpu_machine(tmp_path, release, libraries), CUDA)
    assert found.state == WORSE
    assert words in found.fix
    assert f"CUDA {release}" in found.found


def test_a_gpu_without_cuda(tmp_path: Path) -> None:
    machine = gpu_machine(tmp_path)
    found = find_gpu(Machine(tmp_path, {"PATH": machine.variables["PATH"]}), CUDA)
    assert (found.state, found.found) == (WORSE, "2, driver 535.1, no CUDA")
    assert "CUDA_HOME" in found.fix


def test_no_gpu_and_no_ascend(tmp_path: Path) -> None:
    machine = Machine(tmp_path, {"PATH": str(tmp_path)})
    assert find_gpu(machine, CUDA).state == find_ascend(machine, CANN).state == ABSENT


def test_a_good_ascend(tmp_path: Path) -> None:
    assert find_ascend(ascend_machine(tmp_path), CANN) == Finding("Ascend", GOOD, "1, driver 25.2.0, CANN 8.3.RC1")


@pytest.mark.parametrize(
    ("tree", "found", "fix"),
    [
        ({"cann": "7.0.1"}, "CANN 7.0.1", "MindSpore takes CANN 8.2, 8.3"),
        ({"cann": None, "variable": False}, "no CANN", "set_env.sh"),
        ({"cann": None}, "has no compiler/version.info", "complete CANN"),
    ],
)
def test_cann_that_does_not_fit(tree: dict, found: str, fix: str, tmp_path: Path) -> None:
    finding = find_ascend(ascend_machine(tmp_path, **tree), CANN)
    assert finding.state == WORSE
    assert found in finding.found
    assert fix in finding.fix


def test_the_report_ends_with_what_to_do() -> None:
    lines: list[str] = []
    findings = [
        Finding("one", GOOD, "x"),
        Finding("two", WORSE, "y", "do this"),
        Finding("three", LACKING, "z", "that"),
    ]
    assert report(iter(findings), lines.append) == 2
    assert lines[3:] == ["\ntwo: do this", "\nthree: that", "\nnothing works without: three"]
    assert report(iter(findings[:2]), lines.append) == 0
    assert lines[-1] == "\nready"


def test_on_this_machine() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools/doctor.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MindSpore       good" in done.stdout
    assert done.stdout.endswith("ready\n")


def test_without_any_package() -> None:
    command = [sys.executable, "-S", "-B", ROOT / "tools/doctor.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode == 2, done.stderr
    assert "packages        LACKING" in done.stdout
    assert "\nnothing works without: packages" in done.stdout


def test_requirements_of_other_pythons_are_not_asked_for(monkeypatch: pytest.MonkeyPatch):
    lines = '# a comment\na==1.0\nb==2.0; python_version >= "3.11"\nb==1.0; python_version < "3.11"\n'
    monkeypatch.setattr(sys, "version_info", (3, 11))
    assert list(doctor._pinned(lines)) == [("a", "1.0"), ("b", "2.0")]
    monkeypatch.setattr(sys, "version_info", (3, 10))
    assert list(doctor._pinned(lines)) == [("a", "1.0"), ("b", "1.0")]
