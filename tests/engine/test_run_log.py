"""What a run writes down."""

import csv
import re
from pathlib import Path

import pytest

from src.engine.run_log import RunLog


def rows(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [(row["step"], row["name"], row["value"]) for row in csv.DictReader(file)]


def test_lines_look_as_published_and_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = RunLog(tmp_path, progress_bar="on")
    log.info("before")
    log.start_epoch(1, 10)
    log.advance(0.5)
    log.info("with a bar")
    log.close()
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert all(re.match(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\] INFO: ", line) for line in lines)
    assert [line.split("INFO: ")[1] for line in lines] == ["before", "with a bar"]
    printed = capsys.readouterr().out
    assert all(line in printed for line in lines)


def test_resuming_drops_the_rows_of_lost_work(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in (10, 20, 30):
        log.metrics("train", 1, step, {"loss": step / 10})
    RunLog(tmp_path, resumed_step=20).metrics("train", 1, 30, {"loss": 9.0})
    assert rows(tmp_path) == [("10", "loss", "1"), ("20", "loss", "2"), ("30", "loss", "9")]


def test_only_the_main_rank_writes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = RunLog(tmp_path / "none", active=False)
    log.info("silent")
    log.metrics("train", 1, 1, {"loss": 1.0})
    assert not (tmp_path / "none").exists()
    assert capsys.readouterr().out == ""
