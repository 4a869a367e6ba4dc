"""The whole of memrepo in under a minute, by the commands that a user would type. Run it with `make demo`.

Everything happens in a temporary folder, and nothing is left running.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memrepo import AsyncMemoryRepos, Author, MemoryRepo
from memrepo.settings import environment
from memrepo_worker.assembly import build_git
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes

ROOT = Path(__file__).resolve().parents[1]
MEMREPO = str(Path(sysconfig.get_path("scripts")) / "memrepo")
AGENTS = [f"agent-{number}" for number in range(31, 51)]
COMMITS_EACH = 10

processes = Processes(Counters())


def main() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            line_buffering=True
        )  # so that commands' output stays between ours in a log, too
    with tempfile.TemporaryDirectory(prefix="memrepo-demo-") as name:
        folder = Path(name)
        env = {**environment(), "HOME": name, "MEMREPO_STORE_URL": "", "MEMREPO_BROKER_URL": ""}
        title("1. Start everything on this machine: broker, worker, Flower, a folder as the store")
        with running(folder, env) as broker_url:
            env["MEMREPO_BROKER_URL"] = broker_url
            title("2. Replay a real history through the queue, and compare every file of every commit")
            show(["memrepo", "replay", str(history(folder)), "--agent", "history"], folder, env)
            title(f"3. {len(AGENTS)} agents at once, {COMMITS_EACH} commits each, nothing awaited in between")
            old = asyncio.run(many_agents(broker_url))
            title("4. What one of them did")
            show(["memrepo", "log", "acme", "agent-42", "--limit", "3"], folder, env)
            title("5. One of its files, as it was at an old commit")
            show(["memrepo", "cat", "acme", "agent-42", "notes.md", "--ref", old], folder, env)
            title("6. The same memory, out of the store's folder, by stock git alone (docs/format.md)")
            restore(folder, env)
        title("Everything has stopped. Run `memrepo up` to have it for yourself.")


@contextmanager
def running(folder: Path, env: dict[str, str]) -> Iterator[str]:
    """Run `memrepo up` while the block runs, and give the broker's address."""
    print("$ memrepo up")
    output = folder / "up.log"
    with output.open("wb") as log:
        up = processes.start([MEMREPO, "up", "--port", "0", "--json"], env=env, stdout=log, cwd=folder)
    try:
        while not (line := output.read_text()).endswith("}\n"):
            if up.poll() is not None:
                sys.exit(line)
            time.sleep(0.05)
        told = json.loads(line)
        print(
            f"broker {told['broker_url'].rpartition('@')[2]}, Flower {told['flower_url']}, store {told['store_url']}"
        )
        yield told["broker_url"]
    finally:
        up.terminate()
        up.wait()


def history(folder: Path) -> Path:
    """Return this project's own repository, or one that a seeded script writes where there is no checkout."""
    if (ROOT / ".git").exists():
        return ROOT
    sys.path.insert(0, str(ROOT))
    from tests.support.seeded_repository import write_seeded_repository  # noqa: PLC0415 - not installed

    return write_seeded_repository(folder / "seeded.git", build_git(Counters()))


async def many_agents(broker_url: str) -> str:
    """Let all agents learn at once; return a commit from the middle of agent-42's history."""
    async with AsyncMemoryRepos(broker_url=broker_url) as repos:
        begun = time.perf_counter()
        shas = await asyncio.gather(
            *(learn(repos.repo(org_id="acme", agent_id=agent_id), agent_id) for agent_id in AGENTS)
        )
        seconds = time.perf_counter() - begun
        count = len(AGENTS) * COMMITS_EACH
        print(f"{count} commits acknowledged in {seconds:.2f} s: {count / seconds:.0f} commits/s")
        return shas[AGENTS.index("agent-42")][COMMITS_EACH // 2 - 1]


async def learn(memory: MemoryRepo, agent_id: str) -> list[str]:
    """Commit again and again without waiting; the order is kept. Return the commits' shas."""
    author = Author(name=agent_id, email=f"{agent_id}@agents.example", id=agent_id)
    notes, jobs = "", []
    for number in range(1, COMMITS_EACH + 1):
        notes += f"- learned thing {number}\n"
        jobs.append(
            memory.commit(
                {"notes.md": notes}, f"Learn thing {number}", author=author, create_repo_if_missing=True
            )
        )
    return [(await job).sha for job in jobs]


def restore(folder: Path, env: dict[str, str]) -> None:
    """Run the commands that the document gives, as they stand there."""
    document = (ROOT / "docs" / "format.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```", document, re.DOTALL | re.MULTILINE))
    print("".join(f"  {line}\n" for line in script.splitlines()))
    print(processes.run(["sh", "-eu", "-c", script], env=env, timeout_s=60, cwd=folder).decode(), end="")


def show(command: list[str], folder: Path, env: dict[str, str]) -> None:
    """Show a command and let it run; end the demo if it fails."""
    print("$", *command, flush=True)
    code = processes.start([MEMREPO, *command[1:]], env=env, cwd=folder).wait()
    if code != 0:
        sys.exit(f"that exited with {code}")


def title(text: str) -> None:
    print(f"\n=== {text}", flush=True)


if __name__ == "__main__":
    main()
