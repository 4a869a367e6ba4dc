"""Work that a thread does while it waits for the store's answer, which takes most of a put's time.

A backend says when its request is on the way; one that cannot say it leaves the work undone, and whoever wanted it does
it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from memrepo_worker.observe import no_store_wait

IsAnswered = Callable[[], bool]
"""Whether the answer has come; what takes long is to end then."""

_WORK: ContextVar[Callable[[IsAnswered], None] | None] = ContextVar("memrepo_meanwhile", default=None)


@contextmanager
def meanwhile(work: Callable[[IsAnswered], None]) -> Iterator[None]:
    """Have ``work`` done once, in this thread, while the block's first request waits for its answer.

    It must be short, as the request's time limit goes on, must not ask the store, and must not raise. Whether it was
    done at all, is for it to note. What it is given says whether the answer has come.
    """
    token = _WORK.set(work)
    try:
        yield
    finally:
        _WORK.reset(token)


def request_sent(is_answered: IsAnswered = lambda: False) -> None:
    """Say that a request of this thread is on its way, and its answer not looked for yet."""
    work = _WORK.get()
    if work is not None:
        _WORK.set(None)
        with no_store_wait():
            work(is_answered)
