"""A child that ends in order when its parent is gone, however the parent ended.

The parent holds the writing end of a pipe that is the child's standard input: the kernel closes it when the parent
ends, also where that was killed and could tell nobody.
"""

from __future__ import annotations

import os
import signal
import threading

_STDIN = 0


def end_with_parent(lifeline: int = _STDIN) -> None:
    """From here on this process gets a SIGTERM when ``lifeline``, a descriptor, comes to its end."""
    threading.Thread(target=_watch, args=(lifeline,), name="memrepo-lifeline", daemon=True).start()


def _watch(lifeline: int) -> None:
    while os.read(lifeline, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
