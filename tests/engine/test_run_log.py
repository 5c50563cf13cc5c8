"""What a run writes down."""

import csv
import re
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.engine.log_format import LOG_FORMATS, StepReport
from src.engine.run_log import RunLog
from tests.common.full_disk import file_size_limit


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


STEP = StepReport(epoch=2, step=916, loss=32.8842391, terms={"loss_cls": 30.5, "loss_bbox": 2.3842391}, rate=3.1e-6)


@pytest.mark.parametrize(
    ("log_format", "published"),
    [
        (
            "timed",
            [
                "INFO: epoch: 2, step: 916, loss: 32.884239,  lr: 0.000003, loss_cls: 30.500000, loss_bbox: 2.384239",
                "INFO: Train epoch time: 406803.542 ms, per step time: 444.109 ms",
            ],
        ),
        (
            "monitor_lr",
            [
                "epoch: 2 step: 916, loss is 32.88424",
                "lr:[0.000003]",
                "epoch time: 406803.542 ms, per step time: 444.109 ms",
            ],
        ),
        (
            "monitor",
            ["epoch: 2 step: 916, loss is 32.88424", "epoch time: 406803.542 ms, per step time: 444.109 ms"],
        ),
    ],
)
def test_steps_and_epochs_are_told_as_the_systems_document_has_it(tmp_path, capsys, log_format, published) -> None:
    log = RunLog(tmp_path, log_format=LOG_FORMATS[log_format])
    log.step(STEP)
    log.epoch_time(406803.5423, 916)
    log.info("done")
    log.close()
    *lines, last = (tmp_path / "train.log").read_text().splitlines()
    assert [re.sub(r"^\[\S{23}\] ", "", line) for line in lines] == published
    assert last.endswith("] INFO: done") and last.startswith("[")
    assert capsys.readouterr().out.splitlines() == [*lines, last]


def test_an_evaluations_result_is_told_as_the_systems_document_has_it() -> None:
    assert LOG_FORMATS["timed"].result_line("bbox", 0.39) == "Bbox eval result: 0.39"
    for name in ("monitor", "monitor_lr"):
        assert LOG_FORMATS[name].result_line("bbox", 0.417) == f"\n{'=' * 40}\n\nmAP: 0.417"


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


def test_a_full_disk_ends_the_run_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    log = RunLog(tmp_path)
    log.info("first")
    with file_size_limit(100):
        with pytest.raises(UserError, match=r"train\.log: cannot write this file"):
            log.info("x" * 200)
        with pytest.raises(UserError, match=r"metrics\.csv: cannot write this file"):
            log.metrics("train", 1, 1, {"loss": 0.1, "a" * 200: 1.0})
        log.close()
    assert "Traceback" not in capsys.readouterr().err
    assert "first" in (tmp_path / "train.log").read_text()


def test_rows_of_an_evaluation_that_comes_again_are_dropped(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.metrics("train", 1, 10, {"loss": 1.0})
    log.metrics("eval", 1, 10, {"bbox_mAP": 0.5})
    log.close()
    RunLog(tmp_path, resumed_step=10).close()
    assert rows(tmp_path) == [("10", "loss", "1"), ("10", "bbox_mAP", "0.5")]
    RunLog(tmp_path, resumed_step=10, evaluates_again=True).close()
    assert rows(tmp_path) == [("10", "loss", "1")]
