"""What importing `src` prepares for MindSpore."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(any(Path("/dev").glob("davinci*")), reason="Ascend devices compute on several streams")
@pytest.mark.parametrize(
    ("given", "expected"), [(None, "multi_stream:false"), ("multi_stream:true", "multi_stream:true")]
)
def test_operators_keep_to_one_stream(given: str | None, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MS_DEV_RUNTIME_CONF"}
    if given:
        environment["MS_DEV_RUNTIME_CONF"] = given
    command = "import os, src; print(os.environ['MS_DEV_RUNTIME_CONF'])"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
