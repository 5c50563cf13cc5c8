"""Progress: a bar where a person watches, else a few plain lines."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


def wants_bar(mode: str) -> bool:
    """Whether a progress bar is wanted: mode is 'on', 'off', or 'auto' (when a person watches)."""
    return mode == "on" or (mode == "auto" and sys.stderr.isatty())


def with_progress(items: Iterable[Item], total: int | None, unit: str, mode: str = "auto") -> Iterator[Item]:
    """Iterate with a progress bar, or with some ten plain lines where no terminal is (or `mode` is 'off').

    Where the total is not known (None) there is a line for every hundred items. Lines have the items per second since
    the start.
    """
    if wants_bar(mode):
        yield from tqdm(items, total=total, unit=unit)
        return
    every = 100 if total is None else max(1, total // 10)
    last = "" if total is None else f"/{total}"
    start = time.perf_counter()
    for count, item in enumerate(items, 1):
        yield item
        if count % every == 0 or count == total:
            logger.info(f"{count}{last} {unit}, {count / (time.perf_counter() - start):.1f} {unit.split()[0]}/s")
