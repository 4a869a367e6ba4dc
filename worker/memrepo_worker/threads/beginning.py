"""Beginning a thread, also where the machine gives no more of them just now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

BEGIN_LOOKS_MAX = 10
"""So often, a second each, is it looked whether a thread has begun: a process may be paused for long in one of them."""

Start = Callable[[threading.Thread], None]


def bound_starts() -> None:
    """Have no ``start`` of a thread wait for one that never begins, in the whole process from here on.

    What a library has set in its place by now (one that follows requests into threads, say) is called as before.
    """
    start = threading.Thread.start

    def bounded(thread: threading.Thread) -> None:
        start_bounded(thread, start)

    threading.Thread.start = bounded  # type: ignore[assignment, method-assign] # also of libraries


def start_bounded(thread: threading.Thread, start: Start) -> None:
    """Start a thread by ``start``; where it does not begin, as if the system had refused it.

    Where a thread was made, and there is no memory for its first step, it ends without a word, and Python's own
    ``start`` waits for it for ever; an executor that starts one holds a lock of all executors meanwhile. So a moment
    without memory would leave a worker that owns its shards and serves nothing. Where Python's own ``start`` waits in
    another way than is known here, it is called as it is.

    Raises:
        RuntimeError: it has not begun. It may still do so, on a machine that is that slow.
    """
    begun = getattr(thread, "_started", None)  # private: what its own ``start`` waits for
    own = getattr(begun, "__dict__", None)
    if not isinstance(begun, threading.Event) or own is None or "wait" in own:
        start(thread)  # it waits for something else, or has bounds already
        return

    def wait(timeout: float | None = None) -> bool:  # noqa: ARG001 - as the event's own
        if any(threading.Event.wait(begun, 1.0) for _ in range(BEGIN_LOOKS_MAX)):
            return True
        raise RuntimeError("can't start new thread: it did not begin")

    own["wait"] = wait  # of this one alone
    try:
        start(thread)
    finally:
        own.pop("wait", None)


def begin_thread(name: str, work: Callable[[], None]) -> threading.Thread | None:
    """Begin a daemon thread; None where there can be no more (a limit on processes was reached, say).

    Whoever gets None tries again when there is next something to do: a thread that was noted as begun, and was not,
    would be waited for until the process ends. One that begins after that does nothing.
    """
    first = threading.Lock()  # taken by the thread as it begins, or by who does not wait for it any more

    def do() -> None:
        if first.acquire(blocking=False):
            work()

    thread = threading.Thread(target=do, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        if not first.acquire(blocking=False):
            return thread
        logger.error("no thread for %s, tried again when it is next needed: %s", name, error)
        return None
    return thread
