"""The git that one agent's request needs gives way to the threads that serve all agents."""

from __future__ import annotations

import os

from memrepo_worker.assembly import GIT_NICENESS, build_git
from memrepo_worker.observe import Counters


def test_git_is_nicer_than_the_worker_that_runs_it() -> None:
    processes = build_git(Counters()).processes
    script = "read _; cat /proc/self/stat"  # what it reads is written once it has its priority
    said = processes.run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, timeout_s=30, stdin=b"\n")
    niceness = int(said.rpartition(b")")[2].split()[16])
    assert niceness == min(os.getpriority(os.PRIO_PROCESS, 0) + GIT_NICENESS, 19)
