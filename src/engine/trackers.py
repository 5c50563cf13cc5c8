"""Where metrics of a training go beside its own files: MLflow and TensorBoard, both optional packages."""

import importlib.util
import os
import re
from pathlib import Path
from typing import Any, Protocol

from src.common.errors import UserError
from src.schema import Config

MLFLOW_FOLDER = "mlruns"  # MLflow's own name for a store of files, in the working directory
EVENTS_FOLDER = "tensorboard"  # in the folder of the run

# A thread of tensorboardX writes; its own flush() does not wait for what is still in the queue.
FLUSH_SECONDS = 1


class Tracker(Protocol):
    """Takes metrics as they come."""

    def log(self, kind: str, values: dict[str, float], step: int) -> None:
        """Metrics of a kind ('train' or 'eval') at a step since the start of the training."""

    def close(self) -> None:
        """Nothing more comes."""


class MLflowTracker:
    """A run in MLflow, in the store that MLFLOW_TRACKING_URI names.

    Where that is not set and MLflow's own default, a database, is out of reach because mlflow-skinny comes without
    SQLAlchemy, the run goes to the folder mlruns in the working directory.

    Args:
        run_name: shown in MLflow.

    Raises:
        UserError: MLflow is not installed, or cannot reach its store.
    """

    def __init__(self, run_name: str) -> None:
        try:
            import mlflow
        except ImportError:
            raise UserError("mlflow: 1 needs MLflow, which is not installed; pip install mlflow-skinny") from None
        if not mlflow.is_tracking_uri_set() and importlib.util.find_spec("sqlalchemy") is None:
            # MLflow 3 takes a folder for a store only from those who ask for it.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            mlflow.set_tracking_uri(Path(MLFLOW_FOLDER).absolute().as_uri())
        try:
            mlflow.start_run(run_name=run_name)
        except mlflow.exceptions.MlflowException as error:
            raise UserError(f"mlflow: 1: no run could be started in {mlflow.get_tracking_uri()}: {error}") from None
        self.mlflow: Any = mlflow

    def log(self, kind: str, values: dict[str, float], step: int) -> None:
        """See `Tracker`."""
        # A slash would make a folder of what is a file in a store of files, and classes may have names MLflow refuses.
        named = {re.sub(r"[^\w. -]", "_", f"{kind}_{name}"): float(value) for name, value in values.items()}
        self.mlflow.log_metrics(named, step=step)

    def close(self) -> None:
        """End the run."""
        self.mlflow.end_run()


class TensorBoardTracker:
    """Event files that TensorBoard reads.

    Args:
        folder: for the event files.
        resumed_step: events after it belong to lost work, and TensorBoard drops them; None for a new training.

    Raises:
        UserError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, resumed_step: int | None = None) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise UserError(
                "tensorboard: 1 needs tensorboardX, which is not installed; pip install tensorboardX"
            ) from None
        purge_step = None if resumed_step is None else resumed_step + 1
        self.writer: Any = SummaryWriter(str(folder), purge_step=purge_step, flush_secs=FLUSH_SECONDS)

    def log(self, kind: str, values: dict[str, float], step: int) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """End the event file."""
        self.writer.close()


def build_trackers(config: Config, folder: Path, resumed_step: int | None = None) -> list[Tracker]:
    """The trackers that a configuration asks for.

    Args:
        config: checked configuration.
        folder: of the run.
        resumed_step: see `TensorBoardTracker`.

    Raises:
        UserError: a tracker's package is not installed, or its store is out of reach.
    """
    trackers: list[Tracker] = []
    if config.mlflow:
        trackers.append(MLflowTracker(config.brief))
    if config.tensorboard:
        trackers.append(TensorBoardTracker(folder / EVENTS_FOLDER, resumed_step))
    return trackers
