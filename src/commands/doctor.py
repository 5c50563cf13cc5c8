"""What a machine has of what the project needs, and what would fix the rest. Needs the standard library only."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from src.common.errors import UserError
from src.common.mindspore_version import unsupported_mindspore
from src.ops.kernel_library import find_compiler

ROOT = Path(__file__).resolve().parents[2]
GOOD, WORSE, LACKING, ABSENT = "good", "could be better", "LACKING", "not there"

PYTHONS = ((3, 10), (3, 12))
LEAST_MEMORY_GB, LEAST_DISK_GB, LEAST_SHARED_MB = 4, 2, 512
CUDA_LIBRARIES = ("libcudart.so.11.0", "libcublas.so.11", "libcudnn.so.8")
SET_UP = "bash scripts/setup_env.sh"
# Name, version, and from or before which Python 3.x: lines of requirements.txt.
PINNED = re.compile(r"""^([\w.-]+)==([\w.]+)(?:; python_version (>=|<) "3\.(\d+)")?$""", re.MULTILINE)

# Runs in a process of its own, since a MindSpore that does not fit its machine may end the process that loads it.
PROBE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import src
import mindspore as ms
from mindspore.run_check._check_version import AscendEnvChecker, GPUEnvChecker
from src.model_utils.device_adapter import find_device
known = {}
for name, checker in (("cann", AscendEnvChecker), ("cuda", GPUEnvChecker)):
    try:
        known[name] = list(checker(None).version)
    except Exception:
        known[name] = []
chosen = find_device()
try:
    ms.set_device(chosen)
    fault = ""
except Exception as error:
    fault = str(error).strip().splitlines()[0]
print(json.dumps({"version": ms.__version__, "device": chosen, "fault": fault, **known}))
"""


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes:
        name: the thing.
        state: GOOD, WORSE (it works, less well), LACKING (nothing works without it) or ABSENT (not needed).
        found: what there is.
        fix: what to do about it; empty where nothing has to be done.
    """

    name: str
    state: str
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Machine:
    """Where to look.

    Attributes:
        root: of the file system.
        variables: of the environment.
    """

    root: Path = Path("/")
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def read(self, path: str | Path) -> str:
        """A file's content; empty where it cannot be read."""
        try:
            return (self.root / str(path).lstrip("/")).read_text(errors="replace")
        except OSError:
            return ""

    def output(self, *command: str) -> str:
        """What a program prints; empty where there is none, or it fails."""
        program = shutil.which(command[0], path=self.variables.get("PATH", ""))
        if program is None:
            return ""
        try:
            done = subprocess.run(
                [program, *command[1:]],
                env=dict(self.variables),
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return ""
        return done.stdout


def diagnose(machine: Machine) -> Iterator[Finding]:
    """Look at everything; the slow part, loading MindSpore, comes last but for the devices that it knows."""
    for look in (_python, _compiler, _openmp, _processor, _memory, _disk, _shared_memory, _mpirun):
        yield look(machine)
    yield _packages()
    mindspore = _probe(machine)
    yield _mindspore(mindspore)
    yield find_gpu(machine, mindspore.get("cuda", []))
    yield find_ascend(machine, mindspore.get("cann", []))
    yield _device(mindspore)


def report(findings: Iterator[Finding], show: Callable[[str], object] = print) -> int:
    """Show a line per finding, and what to do in the end. Returns the exit code: 2 when something is lacking."""
    all_of_them = []
    for one in findings:
        all_of_them.append(one)
        show(f"{one.name:<16}{one.state:<17}{one.found}")
    wrong = [one for one in all_of_them if one.fix]
    for one in wrong:
        show(f"\n{one.name}: {one.fix}")
    lacking = [one.name for one in wrong if one.state == LACKING]
    show(f"\n{'nothing works without: ' + ', '.join(lacking) if lacking else 'ready'}")
    return 2 if lacking else 0


def _python(_: Machine) -> Finding:
    version, machine = platform.python_version(), platform.machine()
    found = f"{version} on {machine} ({sys.executable})"
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        return Finding(
            "Python", LACKING, found, f"MindSpore needs Python 3.10 to 3.12; {SET_UP} finds one, or names it"
        )
    return Finding("Python", GOOD, found)


def _compiler(machine: Machine) -> Finding:
    try:
        path = find_compiler("CPU")
    except UserError:
        fix = "apt-get install g++ (Debian, Ubuntu) or dnf install gcc-c++ (openEuler): Mask R-CNN needs it"
        return Finding("C++ compiler", WORSE, "none; convolutions are slower, mask models do not work", fix)
    version = machine.output(path, "-dumpfullversion").strip()
    return Finding("C++ compiler", GOOD, f"{path} {version}".strip())


def _openmp(_: Machine) -> Finding:
    code = "import ctypes; ctypes.CDLL('libgomp.so.1')"
    if subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode:
        fix = "apt-get install libgomp1 (Debian, Ubuntu) or dnf install libgomp (openEuler)"
        return Finding("OpenMP", LACKING, "libgomp.so.1 cannot be loaded", fix)
    return Finding("OpenMP", GOOD, "libgomp.so.1")


def _processor(machine: Machine) -> Finding:
    listed = machine.read("/proc/cpuinfo")
    flags = set(match.group(1).split()) if (match := re.search(r"^flags\s*:(.*)$", listed, re.MULTILINE)) else set()
    cores = f"{os.cpu_count()} processors"
    for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")):
        if flag in flags:
            return Finding("CPU", GOOD, f"{cores}, convolutions with {name}")
    return Finding("CPU", WORSE, f"{cores} without AVX2: MindSpore's own convolutions, which are slower")


def _memory(machine: Machine) -> Finding:
    match = re.search(r"^MemAvailable:\s+(\d+) kB", machine.read("/proc/meminfo"), re.MULTILINE)
    if not match:
        return Finding("memory", ABSENT, "/proc/meminfo does not say how much is free")
    free = int(match.group(1)) / 2**20
    limit = machine.read("/sys/fs/cgroup/memory.max").strip()
    if limit.isdigit():
        used = machine.read("/sys/fs/cgroup/memory.current").strip()
        free = min(free, (int(limit) - int(used or 0)) / 2**30)
    if free < LEAST_MEMORY_GB:
        fix = f"end other programs; the demos take up to {LEAST_MEMORY_GB} GB, a smaller batch_size takes less"
        return Finding("memory", WORSE, f"{free:.1f} GB free", fix)
    return Finding("memory", GOOD, f"{free:.1f} GB free")


def _disk(_: Machine) -> Finding:
    free = shutil.disk_usage(ROOT).free / 1e9
    found = f"{free:.1f} GB free at {ROOT}"
    if free < LEAST_DISK_GB:
        return Finding("disk", WORSE, found, "make room: packages take 3 GB, checkpoints up to 1 GB per run")
    return Finding("disk", GOOD, found)


def _shared_memory(machine: Machine) -> Finding:
    folder = machine.root / "dev/shm"
    if not folder.is_dir():
        return Finding("/dev/shm", WORSE, "none", "python_multiprocessing: 1 needs it; containers: --shm-size 2g")
    free = shutil.disk_usage(folder).free / 1e6
    if free < LEAST_SHARED_MB:
        return Finding("/dev/shm", WORSE, f"{free:.0f} MB free", "start the container with --shm-size 2g")
    return Finding("/dev/shm", GOOD, f"{free:.0f} MB free")


def _mpirun(machine: Machine) -> Finding:
    version = machine.output("mpirun", "--version").splitlines()
    if not version:
        return Finding("mpirun", ABSENT, "several GPUs by mpirun: apt-get install openmpi-bin; msrun does without")
    return Finding("mpirun", GOOD, version[0])


def _packages() -> Finding:
    pinned = dict(_pinned((ROOT / "requirements.txt").read_text()))
    missing, other = [], []
    for name, wanted in pinned.items():
        found = next((one.version for one in metadata.distributions(name=name)), None)
        if found is None:
            missing.append(name)
        elif found != wanted:
            other.append(f"{name} {found} instead of {wanted}")
    if missing:
        return Finding("packages", LACKING, f"{len(missing)} are missing: {_some(missing)}", SET_UP)
    if other:
        return Finding("packages", WORSE, _some(other), f"{SET_UP}: other versions than these were not tested")
    return Finding("packages", GOOD, f"the {len(pinned)} of requirements.txt")


def _pinned(requirements: str) -> Iterator[tuple[str, str]]:
    """Names and versions that are meant for this Python."""
    for name, version, comparison, minor in PINNED.findall(requirements):
        if not comparison or (sys.version_info >= (3, int(minor))) == (comparison == ">="):
            yield name, version


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _probe(machine: Machine) -> dict:
    """What MindSpore says of itself; {"fault": ...} where it cannot be loaded."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, str(ROOT)], env=dict(machine.variables), capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"fault": "it does not answer within five minutes"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        errors = done.stderr.strip().splitlines() or [f"its process ended with exit code {done.returncode}"]
        return {"fault": errors[-1]}
    return dict(json.loads(lines[-1]))


def _mindspore(mindspore: dict) -> Finding:
    wanted = re.search(r"^mindspore==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    if "version" not in mindspore:
        return Finding("MindSpore", LACKING, f"cannot be loaded: {mindspore['fault']}", SET_UP)
    if reason := unsupported_mindspore():
        return Finding("MindSpore", WORSE, mindspore["version"], reason)
    if wanted and mindspore["version"] != wanted.group(1):
        fix = f"{SET_UP} installs {wanted.group(1)}, which all tests run on (docs/versions.md)"
        return Finding("MindSpore", WORSE, mindspore["version"], fix)
    return Finding("MindSpore", GOOD, mindspore["version"])


def find_gpu(machine: Machine, known: list[str]) -> Finding:
    """GPUs, their driver and CUDA. `known`: releases of CUDA that MindSpore takes; empty: not known."""
    listed = [line for line in machine.output("nvidia-smi", "-L").splitlines() if line.startswith("GPU ")]
    if not listed:
        return Finding("GPU", ABSENT, "nvidia-smi lists none")
    driver = machine.output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").splitlines()
    found = f"{len(listed)}, driver {driver[0].strip() if driver else 'unknown'}"
    home = machine.variables.get("CUDA_HOME", "")
    nvcc = machine.output(f"{home}/bin/nvcc", "--version") if home else ""
    release = match.group(1) if (match := re.search(r"release ([\d.]+)", nvcc)) else ""
    supported = " or ".join(known[-2:] or ["11.1", "11.6"])
    if not release:
        return Finding("GPU", WORSE, f"{found}, no CUDA", f"install CUDA {supported} and set CUDA_HOME to its folder")
    if known and release not in known:
        return Finding(
            "GPU", WORSE, f"{found}, CUDA {release}", f"MindSpore takes CUDA {supported}; set CUDA_HOME to it"
        )
    missing = [name for name in CUDA_LIBRARIES if not _has_library(machine, name, home)]
    if missing:
        fix = f"put the folder of {', '.join(missing)} into LD_LIBRARY_PATH (cuDNN 8 is a package of its own)"
        return Finding("GPU", WORSE, f"{found}, CUDA {release} without {', '.join(missing)}", fix)
    return Finding("GPU", GOOD, f"{found}, CUDA {release}")


def _has_library(machine: Machine, name: str, home: str) -> bool:
    folders = [*machine.variables.get("LD_LIBRARY_PATH", "").split(":"), f"{home}/lib64"]
    return any(folder and (Path(folder) / name).exists() for folder in folders) or name in machine.output(
        "ldconfig", "-p"
    )


def find_ascend(machine: Machine, known: list[str]) -> Finding:
    """Ascend devices, their driver and CANN. `known`: versions of CANN that MindSpore takes; empty: not known."""
    devices = list((machine.root / "dev").glob("davinci[0-9]*"))
    if not devices:
        return Finding("Ascend", ABSENT, "there is no /dev/davinci0 or the like")
    driver = _version(machine.read("/usr/local/Ascend/driver/version.info"))
    found = f"{len(devices)}, driver {driver or 'unknown'}"
    home = machine.variables.get("ASCEND_HOME_PATH", "")
    supported = ", ".join(known) or "the versions that MindSpore's installation page names"
    if not home:
        script = "/usr/local/Ascend/cann/set_env.sh (before CANN 8.5: /usr/local/Ascend/ascend-toolkit/set_env.sh)"
        fix = f"install CANN ({supported}), then: source {script}"
        return Finding("Ascend", WORSE, f"{found}, no CANN (ASCEND_HOME_PATH is not set)", fix)
    try:
        cann = _version(Path(home, "compiler/version.info").read_text(errors="replace"))
    except OSError:
        fix = f"set ASCEND_HOME_PATH to a complete CANN ({supported})"
        return Finding("Ascend", WORSE, f"{found}, {home} has no compiler/version.info", fix)
    if known and ".".join(cann.split(".")[:2]) not in known:
        fix = f"MindSpore takes CANN {supported}; install one of these and source its set_env.sh"
        return Finding("Ascend", WORSE, f"{found}, CANN {cann}", fix)
    return Finding("Ascend", GOOD, f"{found}, CANN {cann}")


def _version(text: str) -> str:
    match = re.search(r"^Version=(\S+)", text, re.MULTILINE)
    return match.group(1) if match else ""


def _device(mindspore: dict) -> Finding:
    if "device" not in mindspore:
        return Finding("device", LACKING, "none, without MindSpore")
    if mindspore["fault"]:
        fix = f"{mindspore['fault']}; until that is fixed: --device_target CPU"
        return Finding("device", WORSE, f"{mindspore['device']} cannot be used", fix)
    return Finding("device", GOOD, f"{mindspore['device']} is what device_target: auto takes")
