"""A process that commits and never asks what became of it, and tells how much memory it holds after so many."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import deque
from pathlib import Path

from benchmarks.lab import ORG
from benchmarks.plain import TIMEOUT_S
from memrepo import Job, MemoryRepoBusyError, MemoryRepos
from memrepo.models import CommitResult

AGENTS = 500
AHEAD_MAX = 2000  # commits that the worker may be behind: what waits is not what is measured
BYTES = 100
BUSY_PAUSE_S = 0.1


def main() -> None:
    """Commit as often as the JSON argument's ``counts`` say; write the memory after each (KiB) into ``answer``."""
    job = json.loads(sys.argv[1])
    held_kib: list[int] = []
    with MemoryRepos(broker_url=job["broker_url"]) as repos:
        done = 0
        for count in job["counts"]:
            _commit(repos, range(done, count))
            done = count
            held_kib.append(_resident_kib())
    answer = Path(job["answer"])
    answer.with_suffix(".part").write_text(json.dumps(held_kib))
    answer.with_suffix(".part").rename(answer)


def _commit(repos: MemoryRepos, numbers: range) -> None:
    """Commit, forgetting all but a few jobs, by which it is known how far the worker is."""
    marks: deque[Job[CommitResult]] = deque()
    for number in numbers:
        job = _commit_once(repos, number)
        if number % AGENTS == 0:
            marks.append(job)
        if len(marks) * AGENTS > AHEAD_MAX:
            marks.popleft().result(TIMEOUT_S)
    for agent in range(AGENTS):  # the last of each agent: all before it have ended
        _commit_once(repos, agent).result(TIMEOUT_S)


def _commit_once(repos: MemoryRepos, number: int) -> Job[CommitResult]:
    text = f"{number:0{BYTES}}"
    while True:
        try:
            return repos.repo(org_id=ORG, agent_id=f"agent-{number % AGENTS}").commit({"a.md": text}, "Learn")
        except MemoryRepoBusyError:
            time.sleep(BUSY_PAUSE_S)


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


if __name__ == "__main__":
    main()
