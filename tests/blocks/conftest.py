"""Modes that blocks are tested in."""

from collections.abc import Iterator

import mindspore as ms
import pytest

MODES = {"graph": ms.GRAPH_MODE, "pynative": ms.PYNATIVE_MODE}


@pytest.fixture(params=list(MODES))
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both execution modes; graph mode again afterwards."""
    ms.set_context(mode=MODES[request.param])
    yield request.param
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture
def pynative() -> Iterator[None]:
    """PYNATIVE mode, graph mode again afterwards."""
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture(autouse=True)
def graph_mode() -> None:
    """Graph mode unless a test says otherwise."""
    ms.set_context(mode=ms.GRAPH_MODE)
