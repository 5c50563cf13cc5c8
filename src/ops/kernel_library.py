"""The compiled operators (RoIAlign, convolutions, suppression and others): finds a library, or builds it on first use.

As a command (`scripts/build_custom.sh`) it builds what this machine has compilers for. It needs the standard library
only, and no MindSpore.
"""

import argparse
import fcntl
import hashlib
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.own_files import distrust
from src.common.private_folder import user_cache_path

OPS = Path(__file__).parent
SOURCES = {
    "CPU": OPS / "roi_align/cpu/roi_align.cc",
    "GPU": OPS / "roi_align/cuda/roi_align.cu",
    "CPU convolution": OPS / "convolution/cpu/convolution.cc",
    "CPU batch normalization": OPS / "batch_norm/cpu/batch_norm.cc",
    "CPU suppression": OPS / "nms/cpu/nms.cc",
    "CPU focal loss": OPS / "focal_loss/cpu/focal_loss.cc",
    "CPU matching": OPS / "matching/cpu/matching.cc",
    "CPU max pooling": OPS / "max_pool/cpu/max_pool.cc",
    "CPU sums of maps": OPS / "map_sum/cpu/map_sum.cc",
    "CPU weight update": OPS / "weight_update/cpu/weight_update.cc",
    "CPU decoder messages": OPS / "decoder_messages/cpu/decoder_messages.cc",
}
# Square roots that could set errno, and choices that could trap, would be computed one by one.
CPU_FLAGS = ("-O3", "-std=c++17", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC", "-Wno-psabi")
CUDA_FLAGS = ("-O3", "-std=c++17", "-shared", "-Xcompiler", "-fPIC", "-Xlinker", "--exclude-libs,ALL")
CUDA_ARCHITECTURES = (70, 75, 80, 86, 89, 90)
CACHE_VARIABLE = "CUSTOM_LIBRARY_DIR"

logger = logging.getLogger(__name__)


def library(target: str) -> Path:
    """The shared library for `target`, one of SOURCES; built when it is not there yet.

    Raises:
        UserError: there is no compiler, it fails, or no folder for the library can be written.
    """
    return _library(target)[0]


@cache
def optional_library(target: str) -> Path | None:
    """`library` where another implementation can stand in for it: None, and one warning, where there is none."""
    try:
        return library(target)
    except UserError as error:
        logger.warning("%s: not compiled, a slower implementation stands in: %s", target, error)
        return None


@cache
def _library(target: str) -> tuple[Path, bool]:
    """The library, and whether this call built it. Without a compiler one that another built will do."""
    device = target.split()[0].lower()
    stem = f"{SOURCES[target].stem}_{device}_{_hash_of_source(target)}"
    try:
        compiler = find_compiler(target)
    except UserError:
        built = [
            path for folder in cache_folders() for path in sorted(folder.glob(f"{stem}_*.so")) if _is_trusted(path)
        ]
        if not built:
            raise
        return built[0], False
    name = f"{stem}_{_hash_of_compiler(target, compiler)}.so"
    for folder in cache_folders():
        if _is_trusted(folder / name):
            return folder / name, False
    writable = next((folder for folder in cache_folders() if _can_write(folder)), None)
    if writable is None:
        raise UserError(f"no folder for compiled kernels can be written; set {CACHE_VARIABLE} to one that can")
    built_here = writable / name
    with _locked(writable / f"{device}.lock"):
        if _is_trusted(built_here):  # another process was faster
            return built_here, False
        with atomic_path(built_here) as temporary:
            _compile(target, compiler, temporary)
    return built_here, True


def cache_folders() -> list[Path]:
    """Where libraries are looked for, and built if possible: $CUSTOM_LIBRARY_DIR; or the project, the user's cache."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return [Path(chosen)]
    return [OPS.parents[1] / "build/custom", user_cache_path("custom")]


def find_compiler(target: str) -> str:
    """Path of nvcc (or $NVCC) for 'GPU', of g++ (or $CXX) for the others.

    Raises:
        UserError: there is none.
    """
    if target != "GPU":
        compiler = shutil.which(os.environ.get("CXX") or "g++")
        if compiler is None:
            raise UserError(
                "no C++ compiler for RoIAlign's kernel: install the package g++ (Debian, Ubuntu) or gcc-c++"
            )
        return compiler
    home = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    chosen = os.environ.get("NVCC")
    for place in [chosen] if chosen else ["nvcc", f"{home}/bin/nvcc"]:
        compiler = shutil.which(place)
        if compiler and cuda_architectures(compiler):
            return compiler
    raise UserError("no nvcc for RoIAlign's CUDA kernel: put the CUDA toolkit's bin on PATH, or set NVCC")


@cache
def cuda_architectures(nvcc: str) -> tuple[int, ...]:
    """Those of sm_70 to sm_90 that `nvcc` compiles for; none when it does not work."""
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=False)
    known = {int(number) for number in re.findall(r"compute_(\d+)", listed.stdout)}
    return tuple(number for number in CUDA_ARCHITECTURES if number in known)


def command_line(target: str, compiler: str, architectures: tuple[int, ...] | None = None) -> list[str]:
    """The compiler's command, without the output: machine code for each architecture, PTX for the newest."""
    if target != "GPU":
        return [compiler, *CPU_FLAGS, str(SOURCES[target])]
    chosen = architectures or cuda_architectures(compiler)
    codes = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in chosen]
    codes.append(f"-gencode=arch=compute_{chosen[-1]},code=compute_{chosen[-1]}")
    return [compiler, *CUDA_FLAGS, *codes, str(SOURCES[target])]


def _hash_of_source(target: str) -> str:
    """Changes with the source, the headers that it includes and the kind of machine."""
    parts = [path.read_bytes() for path in _with_headers(SOURCES[target])]
    return _hash(*parts, platform.machine().encode())


def _with_headers(source: Path) -> list[Path]:
    """A source file and the project's headers that it includes, directly or through others."""
    found = [source]
    for path in found:  # grows while it is walked
        for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE):
            header = (path.parent / name).resolve()
            if header.is_file() and header not in found:
                found.append(header)
    return found


def _hash_of_compiler(target: str, compiler: str) -> str:
    """Changes with the compiler and its flags."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    command = command_line(target, compiler)[1:-1]  # without the paths of the compiler and the source
    return _hash(version, *(flag.encode() for flag in command))


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:12]


def _compile(target: str, compiler: str, output: Path) -> None:
    command = [*command_line(target, compiler), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        reason = next((line for line in lines if "error" in line), lines[-1])
        raise UserError(f"{compiler} could not compile {SOURCES[target]}: {reason}")


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK) and not _warned(distrust(folder, _owners()))


def _is_trusted(path: Path) -> bool:
    """Whether a library is there that no other user can have put there: loading it runs its code."""
    if not path.is_file():
        return False
    return not _warned(distrust(path.parent, _owners()) or distrust(path, _owners()))


def _owners() -> set[int]:
    """The user who owns this project's files runs code here already."""
    return {OPS.stat().st_uid}


@cache
def _warned(reason: str | None) -> bool:
    """Whether there is a reason, which is told once."""
    if reason:
        logger.warning("compiled kernels: %s, and is not used", reason)
    return reason is not None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes respect, on this machine and where the file system has locks, beyond it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """Build the libraries; 0 when all that were asked for are there, 2 otherwise."""
    parser = argparse.ArgumentParser(prog="scripts/build_custom.sh", description=main.__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="cpu|cuda", help="what to build; default: all that this machine can"
    )
    wanted = parser.parse_args(arguments).targets
    names = {"cpu": [target for target in SOURCES if target != "GPU"], "cuda": ["GPU"]}
    if unknown := [name for name in wanted if name not in names]:
        print(f"error: unknown target {unknown[0]!r}; there are cpu and cuda", file=sys.stderr)
        return 2
    for name in wanted or names:
        if name == "cuda" and not wanted:
            try:
                find_compiler("GPU")
            except UserError as error:
                print(f"cuda: skipped: {error}")
                continue
        for target in names[name]:
            try:
                path, built = _library(target)
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)
                return 2
            print(f"{name}: {'built' if built else 'already there'}: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
