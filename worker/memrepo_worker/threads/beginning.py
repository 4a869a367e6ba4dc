"""Beginning a thread, also where the machine gives no more of them just now."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


def begin_thread(name: str, work: Callable[[], None]) -> threading.Thread | None:
    """Begin a daemon thread; None where there can be no more (a limit on processes was reached, say).

    Whoever gets None tries again when there is next something to do: a thread that was noted as begun, and was not,
    would be waited for until the process ends.
    """
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        logger.error("no thread for %s, tried again when it is next needed: %s", name, error)
        return None
    return thread
