"""A last resort: ends the children when their parent was killed and could not do it.

Runs as a process of its own: ``python -m memrepo_worker.local.guard PARENT_PID FOLDER``. The parent notes its
children in ``FOLDER/children``, a name and a process id a line.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

BROKER = "broker"
CHILDREN = "children"
GUARD_LOCK = "guard.lock"
LOOK_EVERY_S = 0.3
GRACE_S = 30.0


def is_a(kind: str, name: str) -> bool:
    """Tell whether a child is of a kind: where there are several, the name of its cell follows."""
    return name == kind or name.startswith(f"{kind}-")


def end(pids: Sequence[int], grace_s: float) -> None:
    """Ask processes to end, wait for them, and kill those that did not."""
    for pid in pids:
        _signal(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while any(_signal(pid, 0) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in pids:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> bool:
    """Send a signal; return whether the process was there."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
        return True
    return False


def main(parent_pid: int, folder: Path) -> None:
    """Watch until the parent is gone, then end its children: the broker last, since workers hand over through it."""
    with (folder / GUARD_LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while os.getppid() == parent_pid:
            time.sleep(LOOK_EVERY_S)
        noted = [line.split(" ") for line in (folder / CHILDREN).read_text().splitlines()]
        pids = {name: int(pid) for name, pid in noted if int(pid) != os.getpid()}
        end([pid for name, pid in pids.items() if not is_a(BROKER, name)], GRACE_S)
        end([pid for name, pid in pids.items() if is_a(BROKER, name)], GRACE_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
