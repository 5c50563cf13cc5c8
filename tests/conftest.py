"""What all tests share. Importing `src` first prepares the process for MindSpore."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import src  # noqa: F401  before any import of mindspore
from src.common.console import show_messages

ROOT = Path(__file__).parents[1]
USER_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # before tests get one of their own


@pytest.fixture(scope="session", autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run in a temporary folder, since MindSpore leaves rank_0/ and kernel_meta/ where it runs.

    The programs that tests start keep compiled graphs there, and take those of one another.
    """
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("working_directory")
    os.environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed MindSpore's and NumPy's generators, set graph mode and show messages before each test and its fixtures.

    Weights are then the same whichever tests ran before in the process.
    """
    import mindspore as ms

    from src.model_utils.graph_cache import close_graph_cache

    ms.set_seed(0)
    ms.set_context(mode=ms.GRAPH_MODE)
    close_graph_cache()  # that a test before opened: tests replace parts of what they compile
    show_messages()


@pytest.fixture(params=["graph", "pynative"])
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both execution modes; graph mode again afterwards."""
    import mindspore as ms

    ms.set_context(mode=ms.GRAPH_MODE if request.param == "graph" else ms.PYNATIVE_MODE)
    yield request.param
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture
def pynative() -> Iterator[None]:
    """PYNATIVE mode, graph mode again afterwards."""
    import mindspore as ms

    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 training and 6 validation images of 128 x 128 pixels, in the layout train/data, validation/data."""
    from src.data.synthetic import main as write_synthetic

    folder = tmp_path_factory.mktemp("shapes")
    write_synthetic(["--output_dir", str(folder), "--train", "24", "--val", "6", "--image_size", "128"])
    return folder
