"""A hundred agent loops on one event loop: commit and go on, read now and then, wait once at the end.

Start `memrepo up`, then `python examples/many_agents.py [HOW_MANY]`. It reads MEMREPO_BROKER_URL and needs only the
producer.
"""

from __future__ import annotations

import asyncio
import sys
import time

from memrepo import AsyncMemoryRepos, Author, MemoryRepo

TURNS = 10
READ_EVERY = 4


async def live(memory: MemoryRepo) -> int:
    """Live one agent's life; return how many commits its history has gained."""
    author = Author(name="Agent", email="agent@agents.example", id=memory.agent_id)
    before = await memory.commit({"human.md": "Nothing known yet.\n"}, "Begin", create_repo_if_missing=True)
    notes, jobs = "", []
    for turn in range(TURNS):
        notes += f"- learned thing {turn}\n"
        # Returns at once, keeps the order of the calls, and is not awaited here.
        jobs.append(memory.commit({"notes.md": notes}, f"Turn {turn} since {before.sha[:8]}", author=author))
        if turn % READ_EVERY == READ_EVERY - 1:
            seen = await memory.get_file("notes.md")  # sees every commit before it
            assert seen.text == notes
    return len({(await job).sha for job in jobs})


async def main(agents: int) -> None:
    async with AsyncMemoryRepos.from_env() as repos:
        begun = time.perf_counter()
        counts = await asyncio.gather(
            *(live(repos.repo(org_id="acme", agent_id=f"agent-{number}")) for number in range(agents))
        )
        seconds = time.perf_counter() - begun
        print(f"{agents} agents made {sum(counts)} commits in {seconds:.1f} s: {sum(counts) / seconds:.0f}/s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
