"""A detector that does not learn is broken, whatever the other tests say."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end import test_scripts
from tests.end_to_end.commands import logged


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_a_quarter_of_the_demo_learns(tmp_path: Path) -> None:
    """Two of the demo's eight epochs at half its learning rate, which varies less: AP 0.19 to 0.20 in trials."""
    arguments = ("--epoch_size", "2", "--lr", "0.002")
    images = {"DEMO_TRAIN_IMAGES": "2000", "DEMO_VAL_IMAGES": "100"}
    result = test_scripts.TestDemo.demo(tmp_path, *arguments, timeout=1200, **images)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    losses = list(logged(tmp_path / "demo/training").values())
    assert np.mean(losses[-2:]) < 0.7 * losses[0]
    stats = json.loads((tmp_path / "demo/training/checkpoints/best_metrics.json").read_text())["stats"]
    assert stats["bbox_mAP"] > 0.12
