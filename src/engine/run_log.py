"""What a run reports: log lines, metrics.csv, curves.png, trackers, progress bar."""

import csv
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from src.common.atomic import atomic_path, writing
from src.common.console import ConsoleHandler
from src.common.progress import wants_bar
from src.engine.log_format import LOG_FORMATS, LogFormat, StepReport
from src.engine.trackers import Tracker

BARE = "bare"  # attribute of log records: without time and level
CSV_COLUMNS = ("kind", "epoch", "step", "name", "value")


class RunLog:
    """Log of one training run; silent on all ranks but the main one.

    Args:
        folder: of the run; train.log, metrics.csv and curves.png go there.
        active: whether this process logs.
        resumed_step: rows of metrics.csv after this step belong to lost work and are dropped; None starts a new file.
        evaluates_again: the evaluation at `resumed_step` was interrupted, and rows that it wrote are dropped as well.
        progress_bar: 'auto' (when a person watches), 'on' or 'off'.
        trackers: get the metrics too; closed with the log.
        log_format: how steps and epochs are told.
    """

    def __init__(
        self,
        folder: Path,
        active: bool = True,
        resumed_step: int | None = None,
        progress_bar: str = "auto",
        trackers: Sequence[Tracker] = (),
        log_format: LogFormat = LOG_FORMATS["timed"],
        evaluates_again: bool = False,
    ) -> None:
        self.folder, self.active = Path(folder), active
        self.csv_path = self.folder / "metrics.csv"
        self.with_bar = active and wants_bar(progress_bar)
        self.bar: tqdm | None = None
        self.trackers, self.log_format = tuple(trackers), log_format
        if active:
            with writing(self.csv_path):
                self.folder.mkdir(parents=True, exist_ok=True)
            self._start_csv(resumed_step, evaluates_again)
        self.logger = _line_logger(self.folder / "train.log")
        self.logger.disabled = not active

    def info(self, message: str) -> None:
        """Show and keep one line: `[2023-09-20T19:33:54.705] INFO: message`."""
        self.logger.info(message)

    def warning(self, message: str) -> None:
        """Show and keep one warning."""
        self.logger.warning(message)

    def step(self, report: StepReport) -> None:
        """Show and keep the lines of a step."""
        self._published(*self.log_format.step_lines(report))

    def epoch_time(self, milliseconds: float, steps: int) -> None:
        """Show and keep the time of an epoch of so many steps."""
        self._published(self.log_format.epoch_line(milliseconds, steps))

    def metrics(self, kind: str, epoch: int, step: int, values: dict[str, float]) -> None:
        """Append rows to metrics.csv (kind is 'train' or 'eval', step counts from the start), and tell the trackers."""
        if not self.active:
            return
        with writing(self.csv_path), self.csv_path.open("a", newline="") as file:
            csv.writer(file).writerows((kind, epoch, step, name, f"{value:.8g}") for name, value in values.items())
        for tracker in self.trackers:
            tracker.log(kind, values, step)

    def redraw_curves(self) -> None:
        """Draw metrics.csv as curves.png."""
        if self.active:
            from src.visual.curves import draw_curves

            draw_curves(self.csv_path, self.folder / "curves.png")

    def start_epoch(self, epoch: int, steps: int, done: int = 0) -> None:
        """Open the epoch's progress bar."""
        if self.with_bar:
            self.bar = tqdm(total=steps, initial=done, desc=f"epoch {epoch}", unit="step", leave=False)

    def advance(self, loss: float) -> None:
        """One step of the progress bar."""
        if self.bar is not None:
            self.bar.update()
            self.bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

    def end_epoch(self) -> None:
        """Close the progress bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def close(self) -> None:
        """End the bar, the log file and the trackers."""
        self.end_epoch()
        for handler in self.logger.handlers:
            handler.close()
        for tracker in self.trackers:
            tracker.close()

    def _published(self, *lines: str) -> None:
        for line in lines:
            self.logger.info(line, extra={BARE: self.log_format.bare})

    def _start_csv(self, resumed_step: int | None, evaluates_again: bool) -> None:
        rows = []
        if resumed_step is not None and self.csv_path.is_file():
            with self.csv_path.open(newline="") as file:
                rows = [
                    row
                    for row in csv.DictReader(file)
                    if int(row["step"]) <= resumed_step - (evaluates_again and row["kind"] == "eval")
                ]
        with atomic_path(self.csv_path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, CSV_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


class LineFormatter(logging.Formatter):
    """`[2023-09-20T19:33:54.705] INFO: message`, or the message alone in records that are `BARE`."""

    default_time_format, default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        """The line of a message."""
        return record.getMessage() if getattr(record, BARE, False) else super().format(record)


class LogFile(logging.FileHandler):
    """A log whose disk is full ends the run with one line, instead of a traceback for each message."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Raise what went wrong; called while it is handled."""
        del record
        with writing(self.baseFilename):
            raise  # the error that logging's `emit` has just caught

    def close(self) -> None:
        """Close the file; what could not be written before cannot be written now, and was told."""
        with suppress(OSError):
            super().close()


def _line_logger(path: Path) -> logging.Logger:
    """Writes each message to the console and to the end of a file, with its time and level.

    It stands apart from the modules' loggers: a training shows its lines in a program and in a notebook alike, and its
    file ends with it.
    """
    formatter = LineFormatter("[%(asctime)s] %(levelname)s: %(message)s")
    logger = logging.Logger("run")
    for handler in (ConsoleHandler(), LogFile(path, encoding="utf-8", errors="surrogateescape", delay=True)):
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    return logger
