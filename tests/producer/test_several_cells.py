"""One client of several cells: each agent's requests go to its own, and nobody waits for another's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo import AsyncMemoryRepos, InvalidRequestError, MemoryRepos, Settings
from memrepo.routing import cell_of, route
from tests.producer.stand_in import StandIn
from tests.support.valkey import Valkey, valkey

AGENTS = [f"agent-{number}" for number in range(20)]


@dataclass(frozen=True)
class TwoCells:
    """Two Redis, each with somebody who answers; ``settings`` name them a and b."""

    servers: dict[str, Valkey]
    workers: dict[str, StandIn]
    settings: Settings

    def agent_of(self, cell: str) -> str:
        return next(agent for agent in AGENTS if cell_of("acme", agent, self.servers) == cell)

    def agents_at(self, cell: str) -> set[str]:
        return {taken.request["agent_id"] for taken in self.workers[cell].taken}


@pytest.fixture(scope="session")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("second")) as running:
        yield running


@pytest.fixture
def cells(broker: Valkey, second: Valkey) -> Iterator[TwoCells]:
    with second.client() as client:
        client.flushall()
    settings = Settings(cells=f"a={broker.url} b={second.url}")
    with StandIn(broker) as one, StandIn(second) as two:
        yield TwoCells({"a": broker, "b": second}, {"a": one, "b": two}, settings)


def test_each_agents_requests_go_to_its_cell(cells: TwoCells) -> None:
    with MemoryRepos(settings=cells.settings) as repos:
        jobs = [repos.repo(org_id="acme", agent_id=agent).get_head_sha() for agent in AGENTS]
        repos.wait(jobs, timeout_s=10)

    for cell in "ab":
        assert cells.agents_at(cell) == {one for one in AGENTS if cell_of("acme", one, "ab") == cell} != set()
        [taken, *_] = cells.workers[cell].taken
        assert taken.queue == route("acme", taken.request["agent_id"])
        assert taken.id == taken.request["request_id"]  # as where there is one broker


def test_a_job_is_found_by_its_id_in_its_cell_by_any_client(cells: TwoCells) -> None:
    agents = {cell: cells.agent_of(cell) for cell in "ab"}
    with MemoryRepos(settings=cells.settings) as repos:
        ids = {cell: repos.repo(org_id="acme", agent_id=agents[cell]).get_head_sha().id for cell in "ab"}
        own = repos.repo(org_id="acme", agent_id=agents["b"]).commit(
            {"f": "x"}, "m", request_id="own-id-of-mine"
        )

    assert own.request_id == "own-id-of-mine" != own.id
    with MemoryRepos(settings=cells.settings) as other:
        assert {cell: other.job(ids[cell]).result(timeout_s=30) for cell in "ab"} == {
            "a": "a" * 40,
            "b": "a" * 40,
        }
        with pytest.raises(InvalidRequestError, match=r"job_id.* names the cell 'c', and the cells are a, b"):
            other.job("5e8f0c4e-54f5-4f0d-8f0d-0e1f2a3b4c5d_c")
        # One that was sent while there was a single broker without a name: it is the first cell now.
        cells.workers["a"].store("sent-before-there-were-cells", "SUCCESS", "b" * 40)
        assert other.job("sent-before-there-were-cells").result(timeout_s=30) == "b" * 40


def test_a_cell_that_is_away_makes_only_its_own_agents_wait(broker: Valkey, tmp_path: Path) -> None:
    dead = Valkey(tmp_path)
    settings = Settings(cells=f"a={broker.url} b={dead.url}", enqueue_timeout_s=30)
    there = next(agent for agent in AGENTS if cell_of("acme", agent, "ab") == "a")
    away = next(agent for agent in AGENTS if cell_of("acme", agent, "ab") == "b")

    async def main() -> None:
        async with AsyncMemoryRepos(settings=settings) as repos:
            waiting = repos.repo(org_id="acme", agent_id=away).get_head_sha()
            for _ in range(5):  # it has met the closed door, and each of these passes it by
                assert await repos.repo(org_id="acme", agent_id=there).get_head_sha() == "a" * 40
                await asyncio.sleep(0.02)
            assert not waiting.done()
            dead.start()
            with StandIn(dead):
                assert await waiting == "a" * 40

    try:
        with StandIn(broker):
            asyncio.run(main())
    finally:
        dead.stop()


def test_a_client_with_another_list_is_refused_by_name(cells: TwoCells) -> None:
    for cell, server in cells.servers.items():
        server.client().set("memrepo:cells", f"{cell} a,b")

    three = Settings(cells=f"{cells.settings.cells} c=redis://127.0.0.1:1/0")
    in_a = next(agent for agent in AGENTS if cell_of("acme", agent, "abc") == "a")
    with (
        MemoryRepos(settings=three) as repos,
        pytest.raises(
            InvalidRequestError,
            match=r"MEMREPO_CELLS: is a, b, c here, but the workers of cell a use a, b; .* --accept",
        ),
    ):
        repos.repo(org_id="acme", agent_id=in_a).get_head_sha()
    with (
        MemoryRepos(broker_url=cells.servers["b"].url) as repos,
        pytest.raises(
            InvalidRequestError,
            match=r"MEMREPO_CELLS: is not set here, but the workers of this broker use a, b;",
        ),
    ):
        repos.repo(org_id="acme", agent_id=in_a).get_head_sha()
    swapped = Settings(cells=f"a={cells.servers['b'].url} b={cells.servers['a'].url}")
    with (
        MemoryRepos(settings=swapped) as repos,
        pytest.raises(InvalidRequestError, match=r"MEMREPO_CELLS: says that cell [ab] is where cell [ab] is"),
    ):
        repos.repo(org_id="acme", agent_id=in_a).get_head_sha()
    assert cells.agents_at("a") == cells.agents_at("b") == set()

    with MemoryRepos(settings=cells.settings) as repos:
        assert repos.repo(org_id="acme", agent_id=in_a).get_head_sha().result(timeout_s=30) == "a" * 40
