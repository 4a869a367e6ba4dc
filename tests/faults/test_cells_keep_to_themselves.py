"""Several cells: one that is away keeps nobody else waiting, and one that is added takes its share in flight.

Each agent's memory is a file to which its writers append lines, so that a line that was lost or doubled is seen. It is
1,000 agents with ``LONG=1``.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from memrepo import (
    AsyncMemoryRepos,
    BrokerUnavailableError,
    InvalidRequestError,
    MemoryRepoBusyError,
    MemoryRepos,
    append,
)
from memrepo.ids import new_id
from memrepo.routing import cell_in_id, cell_of
from memrepo.settings import environment
from tests.support.cells import Cells, running_cells

LONG = environment().get("LONG") == "1"
AGENTS = [f"agent-{number}" for number in range(1_000 if LONG else 30)]
TIP_PROOF_S = 1.0
MOVING_S = 10 * TIP_PROOF_S if LONG else 2.5 * TIP_PROOF_S
ORG, PATH = "acme", "log.md"
TWO, THREE = ("a", "b"), ("a", "b", "c")
TRY_AGAIN = (BrokerUnavailableError, MemoryRepoBusyError)

pytestmark = pytest.mark.timeout(0 if LONG else 240)


@dataclass
class Written:
    """What writers were told: the lines of each agent in order, when, and in which cell each was served."""

    at_s: dict[str, dict[str, float]] = field(default_factory=lambda: {agent: {} for agent in AGENTS})
    cells: Counter[str] = field(default_factory=Counter)
    unfinished: dict[str, str] = field(default_factory=dict)
    longest_s: dict[str, float] = field(default_factory=dict)

    def count(self, agents: Collection[str], tag: str = "") -> int:
        """Return of how many lines the slowest of the agents was told."""
        return min(sum(line.startswith(tag) for line in self.at_s[agent]) for agent in agents)


async def write(repos: AsyncMemoryRepos, agent: str, tag: str, written: Written, stop: asyncio.Event) -> None:
    """Append line after line until it is to stop; one that was not taken is sent again under its id."""
    repo = repos.repo(org_id=ORG, agent_id=agent)
    number = 0
    while not stop.is_set():
        line, request_id, begun_s = f"{tag}-{number}", new_id(), time.monotonic()
        written.unfinished[f"{tag}/{agent}"] = line
        while True:
            job = repo.commit(
                [append(PATH, f"{line}\n")], "m", request_id=request_id, create_repo_if_missing=True
            )
            try:
                await job
                break
            except TRY_AGAIN:
                await asyncio.sleep(0.05)
        now_s = time.monotonic()
        del written.unfinished[f"{tag}/{agent}"]
        written.at_s[agent][line] = now_s
        written.cells[cell_in_id(job.id)] += 1
        written.longest_s[agent] = max(written.longest_s.get(agent, 0.0), now_s - begun_s)
        number += 1


async def read(repos: AsyncMemoryRepos, agent: str, written: Written, stop: asyncio.Event) -> float:
    """Read until it is to stop; return by how much at most a read was behind what writers had been told before it."""
    repo, behind_s = repos.repo(org_id=ORG, agent_id=agent), 0.0
    while not stop.is_set():
        told, asked_s = dict(written.at_s[agent]), time.monotonic()
        try:
            seen = set((await repo.get_file(PATH)).text.split())
        except TRY_AGAIN:
            continue
        behind_s = max([behind_s, *(asked_s - at_s for line, at_s in told.items() if line not in seen)])
    return behind_s


async def until(happened: object, why: str, timeout_s: float = 600 if LONG else 60) -> None:
    assert callable(happened)
    ends_s = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < ends_s, f"waited for {why}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def writing(
    repos: AsyncMemoryRepos, agents: Collection[str], tag: str, written: Written
) -> AsyncIterator[None]:
    """Have each agent written to within the block, and what was begun finished behind it."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for agent in agents:
            group.create_task(write(repos, agent, tag, written, stop))
        yield
        stop.set()


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cells]:
    folder = tmp_path_factory.mktemp("cells")
    with running_cells(folder, TWO, {"MEMREPO_TIP_PROOF_S": f"{TIP_PROOF_S:g}"}) as running:
        yield running


def assert_all_there_once(cells: Cells, listed: Collection[str], written: Written) -> None:
    """Read all memories through those cells: each line once, those of a writer in its order."""
    with MemoryRepos(settings=cells.settings(tuple(listed))) as repos:
        jobs = {agent: repos.repo(org_id=ORG, agent_id=agent).get_file(PATH) for agent in AGENTS}
        for agent, job in jobs.items():
            lines = job.result(timeout_s=60).text.split()
            assert Counter(lines) == Counter(list(written.at_s[agent])), agent
            for tag in {line.partition("-")[0] for line in lines}:
                own = [line for line in lines if line.startswith(f"{tag}-")]
                assert own == [line for line in written.at_s[agent] if line.startswith(f"{tag}-")], agent


def test_tools_look_at_every_cell(cells: Cells) -> None:
    shown = json.loads(cells.run("cells", "--json", listed=TWO).stdout)
    assert [(one["cell"], one["lists"], len(one["workers"])) for one in shown] == [
        ("a", [["a", "b"]], 1),
        ("b", [["a", "b"]], 1),
    ]
    shards = json.loads(cells.run("shards", "--json", listed=TWO).stdout)
    assert Counter((one["cell"], one["owner"] is None) for one in shards) == {
        ("a", False): 64,
        ("b", False): 64,
    }

    found = cells.run("doctor", listed=TWO)
    assert found.code == 0, found.stdout
    for cell in TWO:
        for check in ("broker", "store", "workers"):
            assert re.search(rf"^ok +{check} +cell {cell}: ", found.stdout, re.MULTILINE), found.stdout
    chosen = cells.run("worker", listed=TWO)
    assert (
        chosen.code,
        "MEMREPO_CELL: is not set: say which of the cells is meant, a, b" in chosen.stderr,
    ) == (2, True)
    moved = cells.run("store", "accept", listed=TWO)
    assert moved.code == 0  # it is the one that they serve


def test_a_producer_of_the_other_half_is_refused_as_is_a_tool(cells: Cells) -> None:
    alone = cells.run("doctor", listed=("a",))
    assert alone.code == 2
    assert "MEMREPO_CELLS: is a here, but the workers of cell a use a, b" in alone.stdout

    swapped = cells.run("cells", "--accept", env={"MEMREPO_CELLS": cells.listing("ab").replace("a=", "x=")})
    assert swapped.code == 2
    assert "says that cell x is where cell a is" in swapped.stderr


def test_one_away_then_one_more(cells: Cells) -> None:
    written = Written()
    asyncio.run(_a_cell_is_away(cells, written))
    assert_all_there_once(cells, TWO, written)

    behind_s = asyncio.run(_a_cell_is_added(cells, written))
    print(f"reads behind by at most {behind_s:.2f} s of {TIP_PROOF_S} s; served {dict(written.cells)}")
    assert behind_s < TIP_PROOF_S
    assert_all_there_once(cells, THREE, written)

    _another_list_is_refused(cells)


async def _a_cell_is_away(cells: Cells, written: Written) -> None:
    """Kill the Redis of one cell: its agents wait, the others' go on as if nothing were; it comes back, and they do."""
    there = [agent for agent in AGENTS if cell_of(ORG, agent, TWO) == "b"]
    waits = [agent for agent in AGENTS if agent not in there]
    async with (
        AsyncMemoryRepos(settings=cells.settings(TWO)) as repos,
        writing(repos, AGENTS, "one", written),
    ):
        await until(lambda: written.count(AGENTS) >= 2, "all agents to have been written to")
        written.longest_s.clear()
        await until(lambda: len(written.longest_s) == len(AGENTS), "another line of each")
        before_s = max(written.longest_s[agent] for agent in there)
        cells.servers["a"].kill()
        written.longest_s.clear()
        others, own = written.count(there), {agent: len(written.at_s[agent]) for agent in waits}
        await until(lambda: written.count(there) >= others + 5, "the other cell's agents to go on")
        during_s = max(written.longest_s[agent] for agent in there)
        late = [agent for agent in waits if len(written.at_s[agent]) > own[agent] + 1]  # one was under way
        assert late == []
        cells.servers["a"].start()
        more = written.count(waits) + 2
        await until(lambda: written.count(waits) >= more, "the agents of the cell that came back")
    print(
        f"longest commit of {len(there)} agents beside: {before_s:.2f} s, of one that is away: {during_s:.2f} s"
    )


async def _a_cell_is_added(cells: Cells, written: Written) -> float:
    """Add a cell while all is written to by a producer of either list; return by how much a read was behind at most."""
    cells.begin_server("c")
    accepted = cells.run("cells", "--accept", listed=THREE)
    assert accepted.code == 0, accepted.stderr
    cells.begin_worker("c", THREE)
    moved = [agent for agent in AGENTS if cell_of(ORG, agent, TWO) != cell_of(ORG, agent, THREE)]
    assert {cell_of(ORG, agent, THREE) for agent in moved} == {"c"}
    read_only, written_too = moved[::2], [agent for agent in AGENTS if agent not in moved[::2]]
    written.cells.clear()
    stop = asyncio.Event()
    async with (
        AsyncMemoryRepos(settings=cells.settings(TWO)) as old,
        AsyncMemoryRepos(settings=cells.settings(THREE)) as new,
        writing(new, AGENTS, "new", written),
        asyncio.TaskGroup() as group,
    ):
        readers = [group.create_task(read(old, agent, written, stop)) for agent in read_only]
        async with writing(old, written_too, "old", written):
            begun_s = time.monotonic()
            await until(lambda: written.count(AGENTS, "new") >= 3, "all to be written to by the new list")
            await until(lambda: written.count(written_too, "old") >= 3, "those that are, by the old one")
            await until(lambda: time.monotonic() > begun_s + MOVING_S, "reads to have something to miss")
        stop.set()
    moved_part = len(moved) / len(AGENTS)
    print(f"{len(moved)} of {len(AGENTS)} agents moved ({moved_part:.2f})")
    assert not LONG or abs(moved_part - 1 / 3) < 0.05  # 3 standard deviations of a thousand
    assert written.cells.keys() == {"a", "b", "c"}
    return max(reader.result() for reader in readers)


def _another_list_is_refused(cells: Cells) -> None:
    assert cells.run("cells", "--settle", listed=THREE).code == 0

    agent = next(agent for agent in AGENTS if cell_of(ORG, agent, TWO) == "a")
    with (
        MemoryRepos(settings=cells.settings(TWO)) as repos,
        pytest.raises(
            InvalidRequestError, match=r"MEMREPO_CELLS: is a, b here, but the workers of cell a use a, b, c;"
        ),
    ):
        repos.repo(org_id=ORG, agent_id=agent).get_head_sha()
