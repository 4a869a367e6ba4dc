"""An agent loop that keeps its memory in memrepo: commit and go on, read back, poll.

Start `memrepo up`, then `python examples/agent_loop.py`. It reads MEMREPO_BROKER_URL and needs only the producer.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from memrepo import Author, HeadMovedError, MemoryRepo, MemoryRepos, RepoExistsError

TURNS = 5


def begin(memory: MemoryRepo) -> None:
    """Make sure that the agent has a memory; the second time it has."""
    with suppress(RepoExistsError):
        memory.create_repo({"human.md": "Nothing known yet.\n"}).result(timeout_s=30)


def think(turn: int) -> str:
    """Stand in for a model: what the agent learned in this turn."""
    return f"- learned thing {turn}\n"


def main(agent_id: str) -> None:
    planner = Author(name="Planner", email="planner@agents.example", type="agent", id=agent_id)
    with MemoryRepos.from_env() as repos:
        memory = repos.repo(org_id="acme", agent_id=agent_id)
        begin(memory)

        # Fire and forget: the loop goes on while commits are on their way, in the order of the calls.
        notes = ""
        jobs = []
        for turn in range(TURNS):
            notes += think(turn)
            jobs.append(memory.commit({"notes.md": notes}, f"Turn {turn}", author=planner))

        # Poll: another process could do so by repos.job(id).
        print("last commit:", jobs[-1].status())

        # A read sees all commits before it. No need to wait for them first.
        print(memory.get_file("notes.md").result(timeout_s=30).text, end="")

        # Decide on what was read, and refuse to overwrite what somebody else wrote meanwhile.
        head = memory.get_head_sha().result(timeout_s=30)
        try:
            memory.commit(
                {"human.md": "Likes tea.\n"}, "Learn about tea", author=planner, expected_head=head
            ).result(timeout_s=30)
        except HeadMovedError as error:
            print("somebody committed meanwhile:", error)

        for commit in memory.get_history(limit=3).result(timeout_s=30):
            print(f"{commit.sha[:8]} +{commit.additions} -{commit.deletions} {commit.message}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "agent-42")
