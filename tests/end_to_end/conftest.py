"""A small synthetic data set and a tiny configuration, shared by the end-to-end tests."""

from pathlib import Path

import pytest

from src.data.synthetic import main as write_synthetic
from tests.end_to_end.commands import TINY_CONFIG


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 6 validation images of 128 x 128 pixels, in the layout train/data, validation/data."""
    folder = tmp_path_factory.mktemp("shapes")
    write_synthetic(["--output_dir", str(folder), "--train", "24", "--val", "6", "--image_size", "128"])
    return folder


@pytest.fixture
def tiny(tmp_path: Path, shapes: Path) -> Path:
    """Configuration file of a tiny experiment on `shapes`."""
    path = tmp_path / "tiny.yaml"
    data = f"train_dataset: {shapes}/train\nval_dataset: {shapes}/validation\ntrain_outputs: {tmp_path}/out\n"
    path.write_text(TINY_CONFIG + data)
    return path
