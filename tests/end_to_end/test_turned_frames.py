"""A training on landscape and portrait images, in a frame that turns."""

import math
from pathlib import Path

import pytest

from src.weights.checkpoint import load_checkpoint_weights
from tests.end_to_end.commands import TINY_MASK_CONFIG, logged, run
from tests.end_to_end.mixed_data import write_mixed_data

OVERRIDES = ("--img_width", 160, "--img_height", 96, "--divider", 32, "--train_dataset_num", 0, "--epoch_size", 1)


@pytest.mark.slow
def test_training_on_both_orientations(tmp_path: Path) -> None:
    """Batches of two landscapes, of two portraits, and of what is left of both; each shape is compiled once."""
    (tmp_path / "tiny.yaml").write_text(TINY_MASK_CONFIG)
    data = write_mixed_data(tmp_path, landscapes=3, portraits=3)
    where = ("--train_dataset", data, "--train_outputs", "out", "--brief", "mixed")
    printed, _ = run("train.py", "--config_path", "tiny.yaml", *OVERRIDES, *where, cwd=tmp_path)
    assert "6 training images, 3 steps per epoch" in printed
    assert "compiling the training step for 160 x 96 and for 96 x 160; the first step of each" in printed
    losses = logged(tmp_path / "out/mixed")
    assert list(losses) == [1, 2, 3] and all(math.isfinite(loss) and loss > 0 for loss in losses.values())
    assert load_checkpoint_weights(str(tmp_path / "out/mixed/checkpoints/last.ckpt"))
