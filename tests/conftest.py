"""What all tests share. Importing `src` first prepares the process for MindSpore."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import src  # noqa: F401  before any import of mindspore

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run in a temporary folder, since MindSpore leaves rank_0/ and kernel_meta/ where it runs."""
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("working_directory")
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed MindSpore's and NumPy's generators before each test and its fixtures.

    Weights are then the same whichever tests ran before in the process.
    """
    import mindspore as ms

    ms.set_seed(0)
