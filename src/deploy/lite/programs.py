"""The programs that call MindSpore Lite: finds Lite, and compiles them on first use."""

import os
import shutil
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.private_folder import user_cache

SOURCES = Path(__file__).parent
CONVERTER = ("mindspore_converter", "mslite_converter_plugin", "mindspore_core")
RUNTIMES = ("mindspore-lite", "mindspore-extendrt_python")  # of the package, of the wheel
WARNINGS = {"GLOG_v": "2"}


class Lite(NamedTuple):
    """An installed MindSpore Lite.

    Attributes:
        includes: folders of its headers.
        libraries: folders of its libraries.
    """

    includes: tuple[Path, ...]
    libraries: tuple[Path, ...]

    def holds(self, library: str) -> bool:
        """Whether lib`library`.so is among its libraries."""
        return any((folder / f"lib{library}.so").exists() for folder in self.libraries)

    def environment(self) -> dict[str, str]:
        """The variables of a process that loads its libraries."""
        folders = [*map(str, self.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        return {**WARNINGS, **os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, folders))}


def require_lite() -> Lite:
    """The MindSpore Lite that LITE_HOME (or MS_LITE_HOME) names: the unpacked package, or a wheel's mindspore_lite.

    Raises:
        UserError: there is none.
    """
    home = os.environ.get("LITE_HOME") or os.environ.get("MS_LITE_HOME") or ""
    for runtime in (Path(home) / "runtime", Path(home)) if home else ():
        if (runtime / "include/api/model.h").is_file():
            converter = Path(home) / "tools/converter"
            third = Path(home) / "runtime/third_party"
            folders = (runtime / "lib", converter / "lib", third / "glog", third / "dnnl")
            includes = (runtime, runtime / "include", converter, converter / "include")
            return Lite(_there(includes), _there(folders))
    found = f"LITE_HOME is {home}, which holds none" if home else "LITE_HOME is not set"
    raise UserError(
        f"MindSpore Lite is not installed ({found}): unpack mindspore-lite-<version>-linux-<machine>.tar.gz or the "
        "wheel mindspore-lite==2.0.0, and set LITE_HOME to its folder"
    )


def _there(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    return tuple(folder.resolve() for folder in folders if folder.is_dir())


@cache
def lite_program(name: str, lite: Lite) -> Path:
    """The program `convert` or `predict`, compiled where that was not done before.

    Raises:
        UserError: there is no compiler, it fails, or the user's cache cannot be written.
    """
    compiler = shutil.which(os.environ.get("CXX") or "g++")
    if compiler is None:
        raise UserError("no C++ compiler for MindSpore Lite: install the package g++ (Debian, Ubuntu) or gcc-c++")
    source = SOURCES / f"{name}.cc"
    libraries = CONVERTER if name == "convert" else tuple(filter(lite.holds, RUNTIMES))[:1]
    command = [compiler, "-O2", "-std=c++17", *(word for folder in lite.includes for word in ("-isystem", str(folder)))]
    command += [str(source), *(f"-L{folder}" for folder in lite.libraries), *(f"-l{library}" for library in libraries)]
    command += ["-Wl,--allow-shlib-undefined"]  # what its libraries need is found when the program starts
    digest = sha256("\0".join([*command, source.read_text(encoding="utf-8")]).encode()).hexdigest()[:12]
    program = user_cache("lite_programs") / f"{name}_{digest}"
    if not program.exists():
        with atomic_path(program) as temporary:
            done = subprocess.run([*command, "-o", str(temporary)], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                reason = next((line for line in lines if "error" in line), lines[-1])
                raise UserError(f"{compiler} could not compile {source} for MindSpore Lite: {reason}")
        program.chmod(0o700)
    return program


def convert_by_lite(source: Path, target: Path) -> None:
    """Convert an ONNX file by MindSpore Lite's converter.

    Args:
        source: ONNX file.
        target: file to write: .mindir, or .ms for Lite's form for small devices (FlatBuffers), channels first.

    Raises:
        UserError: Lite is not installed, or refuses the file.
    """
    lite = require_lite()
    if not lite.holds(CONVERTER[0]):
        raise UserError(f"no lib{CONVERTER[0]}.so in {', '.join(map(str, lite.libraries))}: this Lite has no converter")
    command = [str(lite_program("convert", lite)), str(source), str(target)]
    target.unlink(missing_ok=True)  # the converter does not replace files
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=lite.environment())
    if done.returncode != 0 or not target.is_file():
        raise UserError(f"{source}: MindSpore Lite's converter refuses this file ({_reason(done.stderr)})")
    target.chmod(0o600)  # it makes them read-only


def _reason(printed: str) -> str:
    """What of the converter's lines says most: operators that it does not know, else its first error."""
    unknown = [line.rpartition("OP TYPE: ")[2] for line in printed.splitlines() if "OP TYPE: " in line]
    if unknown:
        return f"unknown operators: {', '.join(sorted(set(unknown)))}"
    errors = [line for line in printed.splitlines() if "ERROR" in line] or [printed.strip() or "no message"]
    return errors[0].rpartition("] ")[2]
