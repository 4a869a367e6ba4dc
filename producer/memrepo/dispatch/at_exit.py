"""What becomes of clients that nobody closed when the interpreter exits: what waits is sent, or said to be lost."""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - the libraries need it, and once the interpreter exits it cannot be imported
import logging
import os
from typing import Protocol

from memrepo.clock import steady_clock
from memrepo.jobs import unseen

log = logging.getLogger(__name__)


class Open(Protocol):
    """What a client has open; see ``memrepo.dispatch.session.Connections``."""

    def begin_closing(self) -> float:
        """Take nothing more on; return how long what waits may take (s)."""
        ...

    def close(self, within_s: float) -> None:
        """Send what waits and disconnect."""
        ...

    def warn(self) -> None:
        """Warn that nobody closed it."""
        ...


_open: dict[Open, None] = {}


def opened(one: Open) -> None:
    """Have it closed at exit."""
    _open[one] = None


def closed(one: Open) -> None:
    """Take note that it was closed."""
    _open.pop(one, None)


def _at_exit() -> None:
    """Close what is open: all at once, so that together they take no longer than the slowest."""
    left = list(_open)
    ends_at_s = steady_clock() + max((one.begin_closing() for one in left), default=0.0)
    for one in left:
        try:
            one.close(max(0.0, ends_at_s - steady_clock()))
        except KeyboardInterrupt:  # the user will not wait: say what is lost
            ends_at_s = steady_clock()
            one.close(0.0)
        except Exception as error:  # noqa: BLE001 - the others are closed all the same
            log.warning("closing a client failed: %s", type(error).__name__)
    unseen.tell_all()
    for one in left:  # last: a warning may be an error here
        one.warn()


def _in_child() -> None:
    """Leave all to the parent: its threads, which would send what waits, are not here."""
    _open.clear()
    unseen.forget_all()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
