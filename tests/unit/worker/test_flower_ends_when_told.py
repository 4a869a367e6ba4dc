"""``memrepo flower`` ends by a signal, also while its threads wait for a broker that is away."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import threading
from concurrent.futures import ThreadPoolExecutor

from memrepo_worker.local.flower import show_until_told

class Shown:
    def start(self):
        ThreadPoolExecutor().submit(threading.Event().wait)
        raise SystemExit(0)

    def stop(self):
        print("stopped")
        raise SystemExit(0)  # as where a second signal comes

show_until_told(Shown())
"""


def test_it_waits_for_no_thread_that_waits_for_the_broker_though_it_is_told_again_meanwhile() -> None:
    command = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, "stopped\n")
    assert "Traceback" not in done.stderr
