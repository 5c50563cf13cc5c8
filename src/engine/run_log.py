"""What a run tells: log lines, metrics.csv, curves.png, MLflow, progress bar."""

import csv
import sys
from datetime import datetime
from pathlib import Path

from tqdm import tqdm

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.progress import wants_bar

CSV_COLUMNS = ("kind", "epoch", "step", "name", "value")


class RunLog:
    """Log of one training run; silent on all ranks but the main one.

    Args:
        folder: of the run; train.log, metrics.csv and curves.png go there.
        active: whether this process logs.
        resumed_step: rows of metrics.csv after this step are of work that was lost and are dropped; None starts anew.
        progress_bar: 'auto' (when a person watches), 'on' or 'off'.
        mlflow_run: name of an MLflow run to log to, or None.
    """

    def __init__(
        self,
        folder: Path,
        active: bool = True,
        resumed_step: int | None = None,
        progress_bar: str = "auto",
        mlflow_run: str | None = None,
    ) -> None:
        self.folder, self.active = Path(folder), active
        self.csv_path = self.folder / "metrics.csv"
        self.with_bar = active and wants_bar(progress_bar)
        self.bar = None
        self.mlflow = _start_mlflow(mlflow_run) if active and mlflow_run else None
        if active:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._start_csv(resumed_step)

    def info(self, message: str) -> None:
        """Print and keep one line: `[2023-09-20T19:33:54.705] INFO: message`."""
        self._line("INFO", message)

    def warning(self, message: str) -> None:
        """Print and keep one warning."""
        self._line("WARNING", message)

    def metrics(self, kind: str, epoch: int, step: int, values: dict[str, float]) -> None:
        """Append rows to metrics.csv (kind is 'train' or 'eval', step counts from the start), and to MLflow."""
        if not self.active:
            return
        with open(self.csv_path, "a", newline="") as file:
            csv.writer(file).writerows((kind, epoch, step, name, f"{value:.8g}") for name, value in values.items())
        if self.mlflow:
            self.mlflow.log_metrics({f"{kind}_{name}": float(value) for name, value in values.items()}, step=step)

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
        """End the bar and the MLflow run."""
        self.end_epoch()
        if self.mlflow:
            self.mlflow.end_run()

    def _line(self, level: str, message: str) -> None:
        if not self.active:
            return
        line = f"[{datetime.now().isoformat(timespec='milliseconds')}] {level}: {message}"
        if self.bar is not None:
            self.bar.write(line, file=sys.stdout)
        else:
            print(line, flush=True)
        with open(self.folder / "train.log", "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _start_csv(self, resumed_step: int | None) -> None:
        rows = []
        if resumed_step is not None and self.csv_path.is_file():
            with open(self.csv_path, newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= resumed_step]
        with atomic_path(self.csv_path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, CSV_COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def _start_mlflow(run_name: str):
    try:
        import mlflow
    except ImportError:
        raise UserError("mlflow: 1 needs MLflow, which is not installed; pip install mlflow-skinny") from None
    mlflow.start_run(run_name=run_name)
    return mlflow
