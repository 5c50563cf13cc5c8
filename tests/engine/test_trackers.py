"""MLflow and TensorBoard beside a training's own files."""

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.common.errors import UserError
from src.config import load_config
from src.engine.run_log import RunLog
from src.engine.trackers import MLflowTracker, TensorBoardTracker, build_trackers
from tests.conftest import ROOT

MLFLOW_RUN = """
import json
import mlflow
from pathlib import Path
from src.engine.run_log import RunLog
from src.engine.trackers import MLflowTracker

log = RunLog(Path("run"), trackers=[MLflowTracker("first")])
run_id = mlflow.active_run().info.run_id
log.metrics("eval", 2, 40, {"bbox_mAP": 0.25, "bbox_mAP/it's": 0.5})
log.close()
run = mlflow.get_run(run_id)
print(json.dumps([run.info.run_name, run.data.metrics, run.info.status]))
"""


def mlflow_run(folder: Path, **settings: str) -> subprocess.CompletedProcess:
    """A process with the settings for MLflow that a user has made, which are none unless given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, "-c", MLFLOW_RUN]
    environment = {**clean, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Scalars of all event files, which are TFRecords: length, its checksum, an event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        place = 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += 16 + length
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_mlflow_keeps_runs_in_mlruns_where_nothing_is_set(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    done = mlflow_run(tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = {"eval_bbox_mAP": 0.25, "eval_bbox_mAP_it_s": 0.5}
    assert json.loads(done.stdout.splitlines()[-1]) == ["first", metrics, "FINISHED"]
    assert list(tmp_path.glob("mlruns/*/*/metrics/eval_bbox_mAP"))


def test_mlflow_goes_where_the_user_says(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    settings = {"MLFLOW_TRACKING_URI": (tmp_path / "elsewhere").as_uri()}
    refused = mlflow_run(tmp_path, **settings)
    assert "UserError: mlflow: 1: no run could be started in file:" in refused.stderr
    done = mlflow_run(tmp_path, MLFLOW_ALLOW_FILE_STORE="true", **settings)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("elsewhere/*/*/metrics/eval_bbox_mAP")) and not (tmp_path / "mlruns").exists()


def test_tensorboard_gets_the_metrics(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    config = load_config(ROOT / "configs/nas_fpn/default_config.yaml", {"tensorboard": "1"})
    log = RunLog(tmp_path, trackers=build_trackers(config, tmp_path))
    log.metrics("train", 1, 10, {"loss": 2.5, "lr": 0.125})
    log.metrics("train", 1, 20, {"loss": 1.5, "lr": 0.25})
    expected, deadline = {"train/loss", "train/lr"}, time.monotonic() + 60
    while set(events(tmp_path / "tensorboard")) != expected and time.monotonic() < deadline:
        time.sleep(0.1)  # a thread of the library's own writes
    assert set(events(tmp_path / "tensorboard")) == expected, "written while the training goes on"
    log.metrics("eval", 1, 20, {"bbox_mAP": 0.5})
    log.close()
    assert events(tmp_path / "tensorboard") == {
        "train/loss": [(10, 2.5), (20, 1.5)],
        "train/lr": [(10, 0.125), (20, 0.25)],
        "eval/bbox_mAP": [(20, 0.5)],
    }


@pytest.mark.parametrize(
    ("package", "build", "message"),
    [
        ("mlflow", lambda folder: MLflowTracker("first"), "mlflow: 1 needs MLflow.*pip install mlflow-skinny"),
        ("tensorboardX", TensorBoardTracker, "tensorboard: 1 needs tensorboardX.*pip install tensorboardX"),
    ],
)
def test_a_package_that_is_not_there_is_said_clearly(tmp_path, monkeypatch, package, build, message) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=message):
        build(tmp_path)
