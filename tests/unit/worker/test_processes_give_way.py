"""A process that one agent's request needs gives way to the threads that serve all agents."""

from __future__ import annotations

import os

from memrepo_worker.observe import Counters
from memrepo_worker.processes import NICER_BY, Processes


def test_a_process_that_is_run_is_nicer_than_the_worker() -> None:
    script = "sleep 0.2; nice"  # it is at its priority soon after it has begun
    said = Processes(Counters()).run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, timeout_s=30)
    assert int(said) == min(os.getpriority(os.PRIO_PROCESS, 0) + NICER_BY, 19)
