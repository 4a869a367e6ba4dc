"""The git that one agent's request needs gives way to the threads that serve all agents."""

from __future__ import annotations

import os

from memrepo_worker.assembly import build_git
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.observe import Counters
from memrepo_worker.threads.giving_way import Pace, keeping


def test_git_is_nicer_than_the_worker_that_runs_it() -> None:
    processes = build_git(Counters()).processes
    script = "read _; cat /proc/self/stat"  # what it reads is written once it has its priority
    said = processes.run(["sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, timeout_s=30, stdin=b"\n")
    niceness = int(said.rpartition(b")")[2].split()[16])
    assert niceness == min(os.getpriority(os.PRIO_PROCESS, 0) + SharingBounds.git_niceness, 19)


def test_a_turn_says_before_it_waits_for_a_process_that_others_may_work() -> None:
    said: list[str] = []
    pace = Pace(lambda: False)
    pace.on_wait = lambda: said.append("waits")
    with keeping(pace):
        build_git(Counters()).run(["--version"])
    assert said == ["waits"]
