"""A process that commits and never asks what became of it, and tells how much memory it holds after so many."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import deque
from pathlib import Path

from benchmarks.lab import ORG
from memrepo import AsyncMemoryRepos, Job, Settings
from memrepo.models import CommitResult

AGENTS = 500
AHEAD_MAX = 2000  # commits that the worker may be behind: what waits is not what is measured
BYTES = 100
ENQUEUE_TIMEOUT_S = 120.0  # a broker that a busy machine holds up is not what is measured


async def main() -> None:
    """Commit as often as the JSON argument's ``counts`` say; write the memory after each (KiB) into ``answer``."""
    job = json.loads(sys.argv[1])
    held_kib: list[int] = []
    url = job["broker_url"]
    async with AsyncMemoryRepos(settings=Settings(url, url, enqueue_timeout_s=ENQUEUE_TIMEOUT_S)) as repos:
        done = 0
        for count in job["counts"]:
            await _commit(repos, range(done, count))
            done = count
            held_kib.append(_resident_kib())
    answer = Path(job["answer"])
    answer.with_suffix(".part").write_text(json.dumps(held_kib))
    answer.with_suffix(".part").rename(answer)


async def _commit(repos: AsyncMemoryRepos, numbers: range) -> None:
    """Commit, forgetting all but a few jobs, by which it is known how far the worker is."""
    marks: deque[Job[CommitResult]] = deque()
    for number in numbers:
        job = _commit_once(repos, number)
        if number % AGENTS == 0:
            marks.append(job)
        if len(marks) * AGENTS > AHEAD_MAX:
            await marks.popleft()
    await repos.wait([_commit_once(repos, agent) for agent in range(AGENTS)])  # all before these have ended


def _commit_once(repos: AsyncMemoryRepos, number: int) -> Job[CommitResult]:
    text = f"{number:0{BYTES}}"
    return repos.repo(org_id=ORG, agent_id=f"agent-{number % AGENTS}").commit({"a.md": text}, "Learn")


def _resident_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


if __name__ == "__main__":
    asyncio.run(main())
