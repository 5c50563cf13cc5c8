"""The logic of setup_env.sh, with a stand-in for Python that makes environments and 'installs' at once."""

import subprocess
from pathlib import Path

import pytest

from tests.scripts.shell import run_script

# Answers what setup_env.sh asks of a Python; every call of pip is noted, and fails when `pip_fails` exists beside it.
STAND_IN = r"""#!/bin/sh
case "$*" in
    --version) echo "Python 3.11.9" ;;
    *print*) echo 3.11 ;;
    *"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *"-m pip install"*)
        echo "$*" >>"{notes}"
        if [ -e "{folder}/pip_fails" ]; then
            echo "ERROR: No matching distribution found for mindspore==2.10.0"
            exit 1
        fi
        echo "Successfully installed mindspore-2.10.0"
        ;;
esac
exit 0
"""


class Machine:
    """A machine with one Python and nothing else of note."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.system: Path | None = None
        self.venv = folder / "venv"
        self.notes = folder / "pip_calls.txt"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("python3.12", "python3.10", "python3"):
            self.program(name, "#!/bin/sh\nexit 127\n")  # as pyenv's shims of versions that are not active
        self.program("python3.11", STAND_IN.format(notes=self.notes, folder=folder))
        self.requirements = folder / "wanted.txt"
        self.requirements.write_text("tqdm==4.70.1\n")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def without_apt(self) -> None:
        """Make it one of the systems that have no apt-get."""
        self.system = self.folder / "system"
        self.system.mkdir()
        for path in (*Path("/bin").iterdir(), *Path("/usr/bin").iterdir()):
            link = self.system / path.name
            if not path.name.startswith("apt") and not link.is_symlink():
                link.symlink_to(path)

    def set_up(self, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.bin}:{self.system or '/usr/bin:/bin'}"
        return run_script(
            "setup_env.sh", self.requirements, cwd=self.folder, VENV_DIR=str(self.venv), PATH=path, **environment
        )

    @property
    def installations(self) -> int:
        return len(self.notes.read_text().splitlines()) if self.notes.exists() else 0


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_makes_then_reuses(machine: Machine) -> None:
    first = machine.set_up()
    assert first.returncode == 0, first.stderr
    assert "making" in first.stdout
    assert "environment ready" in first.stdout
    assert machine.installations == 1
    second = machine.set_up()
    assert second.returncode == 0
    assert second.stdout.splitlines() == [f"== environment ready: {machine.venv} (Python 3.11.9)"]
    assert machine.installations == 1


def test_changed_requirements_are_installed(machine: Machine) -> None:
    machine.set_up()
    machine.requirements.write_text("tqdm==4.70.0\n")
    assert machine.set_up().returncode == 0
    assert machine.installations == 2


def test_another_version_of_mindspore(machine: Machine) -> None:
    machine.requirements.write_text("mindspore==2.10.0\ntqdm==4.70.1\n")
    machine.set_up()
    assert machine.set_up(MINDSPORE_VERSION="2.8.0").returncode == 0
    assert machine.installations == 2
    assert (machine.venv / "requirements/wanted.txt").read_text() == "mindspore==2.8.0\ntqdm==4.70.1\n"
    assert (machine.venv / "requirements/requirements.txt").read_text().count("mindspore==2.8.0") == 1
    assert machine.set_up(MINDSPORE_VERSION="2.8.0").returncode == 0
    assert machine.installations == 2
    wrong = machine.set_up(MINDSPORE_VERSION="newest")
    assert (wrong.returncode, wrong.stderr) == (2, "error: MINDSPORE_VERSION is 'newest', no version such as 2.9.0\n")


def test_failed_installation_is_told_and_tried_again(machine: Machine) -> None:
    (machine.folder / "pip_fails").touch()
    result = machine.set_up()
    assert result.returncode == 2
    assert "ERROR: No matching distribution found for mindspore==2.10.0" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: pip could not install")
    (machine.folder / "pip_fails").unlink()
    assert machine.set_up().returncode == 0
    assert machine.installations == 2


def test_half_made_environment_is_made_again(machine: Machine) -> None:
    machine.set_up()
    (machine.venv / "bin/python").unlink()
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    assert "is incomplete: making it again" in result.stdout
    assert machine.installations == 2


def test_a_broken_folder_of_someone_else_is_left_alone(machine: Machine) -> None:
    machine.venv.mkdir()
    (machine.venv / "precious.txt").write_text("mine")
    result = machine.set_up()
    assert result.returncode == 2
    assert "move it away" in result.stderr
    assert (machine.venv / "precious.txt").read_text() == "mine"


def test_no_python(machine: Machine) -> None:
    machine.program("python3.11", "#!/bin/sh\nexit 1\n")  # the check of its version fails
    result = machine.set_up()
    assert result.returncode == 2
    assert result.stderr.startswith("error: no Python 3.10, 3.11 or 3.12 found")


@pytest.mark.parametrize("name", ["python3.12", "python3.10", "python3"])
def test_other_supported_pythons(machine: Machine, name: str) -> None:
    (machine.bin / "python3.11").rename(machine.bin / name)
    machine.program("python3.11", "#!/bin/sh\nexit 127\n")
    result = machine.set_up()
    assert result.returncode == 0, result.stderr
    assert f"({machine.bin / name})" in result.stdout


def test_goes_on_without_a_compiler_and_names_its_package(machine: Machine) -> None:
    machine.program("apt-get", "#!/bin/sh\nexit 100\n")
    machine.program("sudo", "#!/bin/sh\nexit 1\n")
    result = machine.set_up(CXX="no-such-compiler")
    assert result.returncode == 0, result.stderr
    assert "g++" in result.stderr.splitlines()[-1]
    assert "only Mask R-CNN and Cascade Mask R-CNN need it" in result.stdout
    assert "environment ready" in result.stdout


def test_missing_system_package_is_named(machine: Machine) -> None:
    text = STAND_IN.format(notes=machine.notes, folder=machine.folder)
    machine.program("python3.11", text.replace('case "$*" in', 'case "$*" in\n    *ensurepip*) exit 1 ;;'))
    machine.program("apt-get", '#!/bin/sh\necho "apt-get $*"\nexit 100\n')
    machine.program("sudo", "#!/bin/sh\nexit 1\n")
    result = machine.set_up()
    assert result.returncode == 2
    assert "python3.11-venv" in result.stderr.splitlines()[-1]
    assert "apt-get" in result.stderr.splitlines()[-1]


def test_dnf_gets_the_names_of_its_packages(machine: Machine) -> None:
    machine.without_apt()
    text = STAND_IN.format(notes=machine.notes, folder=machine.folder)
    machine.program("python3.11", text.replace('case "$*" in', 'case "$*" in\n    *libgomp*) exit 1 ;;'))
    machine.program("dnf", '#!/bin/sh\necho "$*" >>"$(dirname "$0")/../dnf_calls.txt"\n')
    machine.program("sudo", '#!/bin/sh\nshift\nexec "$@"\n')
    result = machine.set_up(CXX="no-such-compiler")
    assert result.returncode == 0, result.stderr
    assert (machine.folder / "dnf_calls.txt").read_text().splitlines() == [
        "install -y -q gcc-c++",
        "install -y -q libgomp",
    ]


def test_neither_apt_nor_dnf(machine: Machine) -> None:
    machine.without_apt()
    machine.program("python3.11", "#!/bin/sh\nexit 1\n")
    result = machine.set_up()
    assert result.returncode == 2
    assert result.stderr.startswith("error: no Python 3.10, 3.11 or 3.12 found")
