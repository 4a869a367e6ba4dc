"""A hundred agents on one asyncio event loop, each with a memory of its own.

Start `memrepo up`, then `python examples/agent_loop.py [AGENTS [TURNS [PAUSE_S]]]`. It reads MEMREPO_BROKER_URL and
needs only the producer. A broker that is away for a while costs it time, but no commit.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

from memrepo import (
    AsyncMemoryRepos,
    Author,
    BrokerUnavailableError,
    CommitResult,
    HeadMovedError,
    Job,
    MemoryRepo,
    MemoryRepoBusyError,
)

T = TypeVar("T")

READ_EVERY = 4
ENQUEUE_WITHIN_S, ANSWER_WITHIN_S, RETRY_AFTER_S = 6.0, 60.0, 0.5


async def enqueue(ask: Callable[[], Job[T]]) -> Job[T]:
    """Return once the broker holds a request; while it is away or too full, ask again."""
    while True:
        job = ask()
        try:
            async with asyncio.timeout(ENQUEUE_WITHIN_S):
                await job.enqueued()
        except (BrokerUnavailableError, MemoryRepoBusyError):
            await asyncio.sleep(RETRY_AFTER_S)
        else:
            return job


async def answer(ask: Callable[[], Job[T]]) -> T:
    """Ask, and wait for the answer."""
    return await result(await enqueue(ask))


async def result(job: Job[T]) -> T:
    """Wait for a job's result."""
    async with asyncio.timeout(ANSWER_WITHIN_S):
        return await job


class Agent:
    """One agent and its memory."""

    def __init__(self, memory: MemoryRepo) -> None:
        self.memory = memory
        self.author = Author(name="Agent", email="agent@agents.example", id=memory.agent_id)
        self.commits: list[Job[CommitResult]] = []
        self.most_under_way = 0

    async def commit(self, path: str, text: str, message: str, expected_head: str | None = None) -> None:
        """Have a commit on its way: the broker holds it, and nobody waits for its result."""
        request_id = str(uuid.uuid4())  # the same for every attempt, so it is applied once
        changes = {path: text}

        def ask() -> Job[CommitResult]:
            return self.memory.commit(
                changes,
                message,
                author=self.author,
                expected_head=expected_head,
                create_repo_if_missing=True,
                request_id=request_id,
            )

        self.commits.append(await enqueue(ask))

    async def live(self, turns: int, pause_s: float) -> None:
        """Learn something in every turn, and look back now and then."""
        life = uuid.uuid4().hex[:8]
        notes = f"# Life {life}\n"
        for turn in range(turns):
            notes += f"- learned thing {turn}\n"
            await self.commit("notes.md", notes, f"Turn {turn} of life {life}")
            under_way = sum(job.status() != "done" for job in self.commits)  # polled: nobody waits
            self.most_under_way = max(self.most_under_way, under_way)
            if turn % READ_EVERY == READ_EVERY - 1:
                seen = await answer(lambda: self.memory.get_file("notes.md"))  # sees every commit before it
                if seen.text != notes:
                    raise RuntimeError(f"{self.memory}: a read missed a commit before it")
            await asyncio.sleep(pause_s)
        await self.decide(f"Has lived life {life}.\n")
        await self.check()

    async def decide(self, text: str) -> None:
        """Write what follows from what was read, unless somebody else has written meanwhile: then read again."""
        while True:
            head = await answer(self.memory.get_head_sha)
            await self.commit("human.md", text, "Look back", expected_head=head)
            try:
                await result(self.commits[-1])
            except HeadMovedError:
                self.commits.pop()
            else:
                return

    async def check(self) -> None:
        """Find each commit in the history, once, in order."""
        for job in self.commits:
            await result(job)
        history = await answer(lambda: self.memory.get_history(limit=len(self.commits)))
        made = [commit.request_id for commit in reversed(history)]
        if made != [job.request_id for job in self.commits]:
            raise RuntimeError(f"{self.memory}: a commit is lost, doubled or out of order")


async def main(agents: int = 100, turns: int = 10, pause_s: float = 0.0) -> None:
    async with AsyncMemoryRepos.from_env() as repos:
        living = [Agent(repos.repo(org_id="acme", agent_id=f"agent-{number}")) for number in range(agents)]
        begun = time.perf_counter()
        await asyncio.gather(*(agent.live(turns, pause_s) for agent in living))
        seconds = time.perf_counter() - begun
    commits = sum(len(agent.commits) for agent in living)
    most = max(agent.most_under_way for agent in living)
    print(f"{agents} agents made {commits} commits in {seconds:.1f} s, each once and in order;", end=" ")
    print(f"at most {most} of one agent were under way at once")


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3]), *map(float, sys.argv[3:4])))
