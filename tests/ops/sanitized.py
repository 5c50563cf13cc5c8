"""Programs that run kernels on odd arrays, built with sanitizers."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NATIVE = Path(__file__).parent / "native"
FLAGS = ("-std=c++17", "-fopenmp", "-O1", "-g1", "-Wall", "-Wextra", "-Werror")
CHECKS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


def assert_sanitizers_find_nothing(name: str, folder: Path, *flags: str) -> None:
    """Build native/NAME_edges.cc, which includes src/ops/NAME/cpu/NAME.cc, into `folder`, and run it."""
    program = folder / "checked"
    sources = [f"-I{ROOT / 'src/ops' / name / 'cpu'}", str(NATIVE / f"{name}_edges.cc")]
    command = ["g++", *FLAGS, *flags, *CHECKS, *sources, "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr[:2000]
