"""A tiny configuration, shared by the end-to-end tests."""

from pathlib import Path

import pytest

from tests.end_to_end.commands import TINY_CONFIG


@pytest.fixture
def tiny(tmp_path: Path, shapes: Path) -> Path:
    """Configuration file of a tiny experiment on `shapes`."""
    path = tmp_path / "tiny.yaml"
    data = f"train_dataset: {shapes}/train\nval_dataset: {shapes}/validation\ntrain_outputs: {tmp_path}/out\n"
    path.write_text(TINY_CONFIG + data)
    return path
