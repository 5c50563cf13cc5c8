"""Where messages appear, and how they look."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from tqdm import tqdm

from src.common.console import show_messages
from tests.conftest import ROOT

logger = logging.getLogger("src.tests")

PROGRAM = """
import logging, sys
from src.common.errors import UserError
from src.common.program import run_command

def main():
    logging.getLogger("src.somewhere").info("50% done")
    logging.getLogger("src.somewhere").warning("odd")
    logging.getLogger("elsewhere").info("not ours")
    raise UserError("broken")

run_command(main)
"""


def test_levels_and_streams(capsys: pytest.CaptureFixture) -> None:
    show_messages()
    show_messages()  # nothing appears twice
    logger.debug("hidden")
    logger.info("as it is")
    logger.warning("%d images are %s", 3, "broken")
    logger.error("the end")
    captured = capsys.readouterr()
    assert captured.out == "as it is\nwarning: 3 images are broken\n"
    assert captured.err == "error: the end\n"


def test_a_bar_stays_below(capsys: pytest.CaptureFixture) -> None:
    with tqdm(total=2, file=sys.stderr):
        logger.info("beside a bar")
    assert capsys.readouterr().out == "beside a bar\n"


def test_programs_show_them(tmp_path: Path) -> None:
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        words, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "50% done\nwarning: odd\n", "error: broken\n")
