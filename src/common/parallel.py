"""Work done ahead by threads, in order, without filling memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, ahead: int
) -> Iterator[tuple[Item, Result]]:
    """(item, function(item)) in order; an exception is raised when its item's turn comes.

    Args:
        function: called in threads.
        items: what it is called with.
        workers: threads; 0: called in the calling thread.
        ahead: maximum number of results that wait.
    """
    if workers == 0:
        yield from ((item, function(item)) for item in items)
        return
    with ThreadPoolExecutor(min(workers, ahead)) as pool:
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > ahead:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()
