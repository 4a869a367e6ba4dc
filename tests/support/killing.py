"""Work in a process of its own, which may kill itself there as a machine would."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable


def killed(work: Callable[[], object]) -> bool:
    """Do something in a process that is forked off; return whether it was killed, False where it came to its end."""
    child = os.fork()
    if not child:
        try:
            work()
        except BaseException:  # noqa: BLE001 - it must not go on as a second pytest
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL)
    return status != 0
