"""A process that keeps one agent busy, so that whoever measures another agent is not busy with that."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lab import ORG, Bench, Lab
from benchmarks.texts import Texts
from memrepo import AsyncMemoryRepos

HOT = "hot"
UNDER_WAY = 500


@contextmanager
def keeping_busy(lab: Lab, bench: Bench) -> Iterator[None]:
    """Keep 500 commits of the hot agent under way until the block ends."""
    folder = lab.new_folder("load")
    sign = folder / "under-way"
    job = json.dumps({"broker_url": bench.settings.broker_url, "sign": str(sign)})
    with lab.process("benchmarks.load", job, folder=folder, ready=sign.exists):
        yield


async def _keep_busy(broker_url: str, sign: str) -> None:
    """Commit for ever; make the file ``sign`` when it begins."""
    texts = Texts()
    async with AsyncMemoryRepos(broker_url=broker_url) as repos:
        repo = repos.repo(org_id=ORG, agent_id=HOT)

        async def commit_for_ever() -> None:
            while True:
                await repo.commit(texts.changes(3), "Learn", create_repo_if_missing=True)

        await repo.commit(texts.changes(3), "Learn", create_repo_if_missing=True)
        Path(sign).touch()
        await asyncio.gather(*(commit_for_ever() for _ in range(UNDER_WAY)))


if __name__ == "__main__":
    asyncio.run(_keep_busy(**json.loads(sys.argv[1])))
