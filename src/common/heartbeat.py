"""A sign of life from work that says nothing itself."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def heartbeat(say: Callable[[int], None], first: float) -> Iterator[None]:
    """Call `say` with the whole seconds since the start while the block lasts, from a thread.

    Args:
        say: what tells, such as a logger's line; what it raises ends the signs of life, not the work.
        first: seconds to the first sign; each later one comes after twice the time. Work in C++ that holds the
            interpreter delays a sign.
    """
    start, done = time.monotonic(), threading.Event()

    def tell() -> None:
        pause = first
        while not done.wait(pause):
            pause = time.monotonic() - start
            say(round(pause))

    thread = threading.Thread(target=tell, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
