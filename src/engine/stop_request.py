"""Ending a training in an orderly way on SIGTERM or Ctrl-C."""

import signal

from src.common.program import Terminated


class StopRequest:
    """Turns SIGTERM and Ctrl-C into a request that the loop honours between two steps; a second one is immediate."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        if self.signal is not None:
            self.raise_if_asked()
        self.signal = number

    def raise_if_asked(self) -> None:
        """Raise what the signal stands for, if one came."""
        if self.signal is not None:
            raise KeyboardInterrupt if self.signal == signal.SIGINT else Terminated
