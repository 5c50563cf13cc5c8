"""A training on two machines: what it computes, and how one ends when the other is lost."""

import time
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.commands import FROZEN_NORM, TINY_CONFIG, logged, run
from tests.end_to_end.two_machines import two_machines
from tests.scripts.stand_in_cluster import wait_until

STEPS = 6  # an epoch
KEYS = (*FROZEN_NORM, "--opt_type", "sgd", "--lr_type", "multistep", "--lr_steps", "[]")


@pytest.mark.slow
@pytest.mark.end_to_end
def test_two_machines_train_like_one_process_and_end_together(tmp_path: Path, shapes: Path) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY_CONFIG)
    data = ("--train_dataset", shapes / "train", "--train_outputs", "out", "--brief", "one")
    run("train.py", "--config_path", config, *data, *KEYS, "--epoch_size", 1, "--batch_size", 4, cwd=tmp_path)
    expected = logged(tmp_path / "out/one")
    with two_machines() as machines:
        parts = [
            machines.start(
                number, "run_distribute_train_gpu.sh", config, 2, shapes / "train", shapes / "validation",
                f"out_{number}", "two", *KEYS, "--epoch_size", 5000, cwd=tmp_path,
            )
            for number in (0, 1)
        ]  # fmt: skip
        metrics = tmp_path / "out_0/two/metrics.csv"
        wait_until(lambda: metrics.is_file() and len(logged(metrics.parent)) > STEPS, 700)
        machines.cut()
        start = time.monotonic()
        errors = [part.communicate(timeout=120)[1] for part in parts]
        assert time.monotonic() - start < 60
    assert [part.returncode for part in parts] == [1, 1]
    assert "\nmachine 1 (second) no longer answers\n" in f"\n{errors[0]}"
    assert "\nmachine 0 (first) no longer answers\n" in f"\n{errors[1]}"
    found = logged(metrics.parent)
    assert list(expected) == list(range(1, STEPS + 1))
    np.testing.assert_allclose([found[step] for step in expected], list(expected.values()), rtol=1e-4)
    assert not (tmp_path / "out_1/two/metrics.csv").exists()
