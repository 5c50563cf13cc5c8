"""A training step is compiled for a GPU: every operator has a kernel there, in half precision too."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_gpu.libraries import build

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("readelf") and shutil.which("cc")), reason="needs cc and readelf"),
    pytest.mark.skipif(any(Path("/dev").glob("nvidia*")), reason="there is a real one"),
]


def test_a_training_step_has_kernels(tmp_path: Path) -> None:
    # RefineDet has a dilated convolution, whose gradient MindSpore refuses in half precision; a dynamic scale would
    # branch on what no kernel wrote.
    options = {"detector": "refinedet", "amp_level": "O2", "loss_scale": 256, "batch": 1, "rounds": 1}
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu/train_step.py", *arguments],
        cwd=ROOT, env=build(tmp_path / "cuda"), capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0 and "@{" in done.stdout, done.stdout + done.stderr[-3000:]
