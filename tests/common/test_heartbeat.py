"""Signs of life come while work lasts, ever more rarely, and end with it."""

import time

from src.common.heartbeat import heartbeat


def test_signs_of_life_come_ever_more_rarely_and_end_with_the_work():
    told: list[float] = []
    with heartbeat(lambda seconds: told.append(time.monotonic()), 0.05):
        start = time.monotonic()
        while len(told) < 4:
            time.sleep(0.01)
            assert time.monotonic() - start < 60
    count = len(told)
    time.sleep(0.2)
    assert len(told) == count
    assert told[3] - told[0] >= 0.3  # at 0.05, 0.1, 0.2 and 0.4 seconds or later


def test_short_work_says_nothing():
    told: list[int] = []
    with heartbeat(told.append, 60):
        pass
    assert told == []
