"""A few dozen faults of each border; `python -m tests.faults` runs as many as wanted."""

import logging
from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from tests.faults import campaign
from tests.faults.borders import BORDERS
from tests.faults.campaign import CLEAN, HANDLED, HANG, MEMORY, SILENT, TRACEBACK, SilentError, classify, run_border

NUMBER = 40


@pytest.mark.parametrize("border", BORDERS, ids=lambda border: border.name)
def test_every_fault_is_refused_in_one_line_or_handled(border, tmp_path: Path) -> None:
    logging.disable(logging.CRITICAL)
    try:
        outcome = run_border(border, tmp_path, NUMBER)
    finally:
        logging.disable(logging.NOTSET)
    assert outcome.bad == []
    assert outcome.counts.total() == NUMBER and outcome.counts[CLEAN] + outcome.counts[HANDLED] == NUMBER


def spin() -> None:
    while True:
        pass


def test_faults_are_told_apart(monkeypatch) -> None:
    def raises(error: BaseException):
        def read() -> None:
            raise error

        return read

    assert classify(lambda: None)[0] == HANDLED
    assert classify(raises(UserError("a.json: wrong")))[0] == CLEAN
    assert classify(raises(UserError("two\nlines")))[0] == TRACEBACK
    assert classify(raises(KeyError("x")))[0] == TRACEBACK
    assert classify(raises(SilentError("x")))[0] == SILENT
    assert classify(lambda: np.ones(2**26))[0] == MEMORY  # far over the limit: other threads may free memory
    monkeypatch.setattr(campaign, "SECONDS", 0.1)
    assert classify(spin)[0] == HANG
