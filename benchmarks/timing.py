"""Taking times so that what drifts on the machine hits both sides alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

WARM_UP = 5
REST_S = 0.01
"""A worker acknowledges and sends events after its client has the result: no part of what is measured next."""

Work = Callable[[], object]
AsyncWork = Callable[[], Awaitable[object]]


def timed(work: Work) -> float:
    """Return how many seconds it took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


async def timed_async(work: AsyncWork) -> float:
    """Return how many seconds it took."""
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


def in_turns(number: int, one: Work, other: Work) -> tuple[list[float], list[float]]:
    """Do both, one after the other, that many times, after ``WARM_UP`` times; return the seconds of each."""
    for _ in range(WARM_UP):
        one()
        other()
    pairs = [(timed_from_rest(one), timed_from_rest(other)) for _ in range(number)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def timed_from_rest(work: Work) -> float:
    """Return how many seconds it took, after what was done before has settled."""
    time.sleep(REST_S)
    return timed(work)


async def in_turns_async(number: int, one: AsyncWork, other: AsyncWork) -> tuple[list[float], list[float]]:
    """Do both, one after the other, that many times; return the seconds of each."""
    pairs = [(await timed_async(one), await timed_async(other)) for _ in range(number)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def in_turns_of_all(number: int, works: Sequence[Work]) -> list[list[float]]:
    """Do each, one after the other, that many times, after ``WARM_UP`` times; return the seconds of each."""
    for _ in range(WARM_UP):
        for work in works:
            work()
    rounds = [[timed_from_rest(work) for work in works] for _ in range(number)]
    return [list(times) for times in zip(*rounds, strict=True)]


@contextmanager
def startup_left_to_rest() -> Iterator[None]:
    """Have the garbage collector pass over what is there already, as servers do (see ``gc.freeze``).

    This process has loaded far more than a producer: going through all that takes 0.1 s, which would be the longest
    stall of all, and a part of one round and not of another.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
