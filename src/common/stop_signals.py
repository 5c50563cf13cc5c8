"""Ctrl-C and SIGTERM as a wish to stop, for work that has no end of its own."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_at_signals(stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs, the first Ctrl-C or SIGTERM calls `stop`; the next one does what it did before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop_once(*_: object) -> None:
        restore()
        stop()

    for number in SIGNALS:
        signal.signal(number, stop_once)
    try:
        yield
    finally:
        restore()
