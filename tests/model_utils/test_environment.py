"""What importing `src` prepares for MindSpore."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


HAS_GPU = any(Path(file).exists() for file in ("/dev/nvidiactl", "/dev/dxg"))


@pytest.mark.parametrize("given", [None, "multi_stream:true"])
def test_operators_keep_to_one_stream_on_gpus(given: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MS_DEV_RUNTIME_CONF"}
    if given:
        environment["MS_DEV_RUNTIME_CONF"] = given
    command = "import os, src; print(os.environ.get('MS_DEV_RUNTIME_CONF'))"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(given or ("multi_stream:false" if HAS_GPU else None))
