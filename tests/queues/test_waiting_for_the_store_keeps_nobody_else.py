"""One agent whose store does not answer is that agent's trouble alone: neighbours, hand-overs, shutdowns go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo.clock import steady_clock
from memrepo.routing import shard_of
from memrepo_worker.group import Agent
from memrepo_worker.queues.leases.leases import read_owners
from memrepo_worker.settings import WorkerSettings
from tests.support.file_service import FileService
from tests.support.sending import Sender, sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, file_fleet

SHARDS = 8
LEASE_S = 2.0


@dataclass
class Site:
    server: Valkey
    workers: WorkerFleet
    send: Sender
    service: FileService

    def owner_of(self, agent: str) -> str | None:
        with self.server.client() as client:
            records = read_owners(client.hgetall("memrepo:owners"))
        record = records.get(shard_of("acme", agent, SHARDS))
        return record[1].partition("@")[0] if record else None

    def wait_until_owned(self, *agents: str) -> None:
        for agent in agents:
            wait_for(lambda agent=agent: self.owner_of(agent), f"an owner of {agent}")  # type: ignore[misc]

    def status(self, request_id: str) -> str:
        return str((self.send.meta(request_id) or {}).get("status"))

    def done(self, *request_ids: str) -> bool:
        return all(self.status(request_id) == "SUCCESS" for request_id in request_ids)

    def mend(self) -> None:
        (self.service.folder / "mended").touch()


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def build(**overrides: object) -> Site:
            server = stack.enter_context(valkey(tmp_path / "valkey"))
            values = {"shards": SHARDS, "lease_s": LEASE_S, "concurrency": 4, **overrides}
            settings = WorkerSettings(broker_url=server.url, result_url=server.url, **values)  # type: ignore[arg-type]
            service = FileService(tmp_path / "done", 0.0)
            workers = stack.enter_context(file_fleet(tmp_path / "workers", settings, service.folder))
            send = stack.enter_context(sender(server, SHARDS))
            return Site(server, workers, send, service)

        yield build


def in_one_shard_with(agent: str, prefix: str) -> str:
    """Return an agent's id that begins like that, in the shard of another."""
    shard = shard_of("acme", agent, SHARDS)
    return next(
        f"{prefix}-{number}"
        for number in range(10_000)
        if shard_of("acme", f"{prefix}-{number}", SHARDS) == shard
    )


def in_another_shard_than(agent: str, prefix: str) -> str:
    shard = shard_of("acme", agent, SHARDS)
    return next(
        f"{prefix}-{number}"
        for number in range(10_000)
        if shard_of("acme", f"{prefix}-{number}", SHARDS) != shard
    )


def test_with_twenty_agents_refused_by_their_store_all_others_are_served(
    open_site: Callable[..., Site],
) -> None:
    site = open_site()
    site.workers.start()
    stuck = [site.send.commit("acme", f"refused-{number}") for number in range(20)]
    wait_for(lambda: {site.status(one) for one in stuck} == {"RETRY"}, "all of them to wait")

    healthy = [site.send.commit("acme", f"healthy-{number % 5}") for number in range(20)]
    wait_for(lambda: site.done(*healthy), "the others to be served")
    assert {site.status(one) for one in stuck} == {"RETRY"}

    later = [site.send.commit("acme", f"refused-{number}") for number in range(20)]
    site.mend()
    wait_for(lambda: site.done(*stuck, *later), "all to be served")
    logs = [site.service.log(Agent("acme", f"refused-{number}")) for number in range(20)]
    assert logs == [list(pair) for pair in zip(stuck, later, strict=True)]


def test_with_more_agents_whose_store_hangs_than_there_are_threads_all_others_are_served(
    open_site: Callable[..., Site],
) -> None:
    site = open_site(concurrency=4, hanging_turns_max=16)
    site.workers.start()
    stuck = [site.send.commit("acme", f"hangs-{number}") for number in range(15)]
    wait_for(lambda: {site.status(one) for one in stuck} == {"STARTED"}, "all of them to hang")

    healthy = [site.send.commit("acme", f"healthy-{number % 5}") for number in range(20)]
    wait_for(lambda: site.done(*healthy), "the others to be served")
    assert {site.status(one) for one in stuck} == {"STARTED"}

    site.mend()
    wait_for(lambda: site.done(*stuck), "all to be served")


def test_with_any_number_of_agents_whose_store_hangs_those_whose_store_has_answered_are_served(
    open_site: Callable[..., Site],
) -> None:
    site = open_site(concurrency=4, hanging_turns_max=6)
    site.workers.start()
    known = [site.send.commit("acme", f"healthy-{number}") for number in range(5)]
    wait_for(lambda: site.done(*known), "all that are healthy to be known")
    stuck = [site.send.commit("acme", f"hangs-{number}") for number in range(40)]
    wait_for(lambda: [site.status(one) for one in stuck].count("STARTED") == 7, "as many to hang as may")

    healthy = [site.send.commit("acme", f"healthy-{number % 5}") for number in range(20)]
    wait_for(lambda: site.done(*healthy), "the others to be served")
    assert [site.status(one) for one in stuck].count("STARTED") == 7

    site.mend()
    wait_for(lambda: site.done(*stuck), "all to be served")


def test_where_the_stores_of_agents_that_it_had_answered_hang_those_that_are_served_meanwhile_go_on(
    open_site: Callable[..., Site],
) -> None:
    site = open_site(concurrency=4, hanging_turns_max=6)
    worker = site.workers.start()
    site.mend()
    before = [site.send.commit("acme", f"hangs-{number}") for number in range(40)]
    wait_for(lambda: site.done(*before), "the store to have answered all of them")
    healthy = [site.send.commit("acme", f"healthy-{number}") for number in range(5)]
    wait_for(lambda: site.done(*healthy), "the healthy ones to be served")

    (site.service.folder / "mended").unlink()
    worker.pause()  # so that the healthy ones are there when the others are seen to hang
    stuck = [site.send.commit("acme", f"hangs-{number}") for number in range(40)]
    healthy = [site.send.commit("acme", f"healthy-{number}") for number in range(5)]
    worker.resume()
    wait_for(lambda: site.done(*healthy), "the healthy ones to be served beside them")
    for _ in range(20):
        healthy = [site.send.commit("acme", f"healthy-{number}") for number in range(5)]
        wait_for(lambda healthy=healthy: site.done(*healthy), "the healthy ones to be served")  # type: ignore[misc]
    # A quarter of the threads and those that are not counted.
    wait_for(lambda: [site.status(one) for one in stuck].count("STARTED") == 7, "as many to hang as may")
    healthy = [site.send.commit("acme", f"healthy-{number}") for number in range(5)]
    wait_for(lambda: site.done(*healthy), "the healthy ones to be served still")

    site.mend()
    wait_for(lambda: site.done(*stuck), "all to be served")


def test_a_hand_over_ends_the_waiting_and_neighbours_are_served_by_the_new_owner(
    open_site: Callable[..., Site],
) -> None:
    site = open_site(shards=SHARDS)
    first = site.workers.start()
    agents = [f"refused-{number}" for number in range(16)]
    stuck = [site.send.commit("acme", agent) for agent in agents]
    wait_for(lambda: {site.status(one) for one in stuck} == {"RETRY"}, "all of them to wait")

    site.workers.start()

    def handed_over() -> list[str]:
        return [agent for agent in agents if site.owner_of(agent) not in (first.name, None)]

    moved = wait_for(handed_over, "a shard to be handed over", 60)
    neighbour = in_one_shard_with(moved[0], "healthy")
    healthy = site.send.commit("acme", neighbour)
    wait_for(lambda: site.done(healthy), "the neighbour to be served")
    site.mend()
    wait_for(lambda: site.done(*stuck), "all to be served")


def test_a_shutdown_ends_the_waiting_and_loses_nothing(open_site: Callable[..., Site]) -> None:
    site = open_site()
    first = site.workers.start()
    stuck = [site.send.commit("acme", "refused") for _ in range(3)]
    wait_for(lambda: site.status(stuck[0]) == "RETRY", "it to wait")

    first.terminate()
    assert first.process.wait(10) == 0
    assert site.owner_of("refused") is None

    site.mend()
    site.workers.start()
    wait_for(lambda: site.done(*stuck), "all to be served")
    assert site.service.log(Agent("acme", "refused")) == stuck


def test_a_worker_that_stops_gives_up_at_once_what_nothing_runs_of(open_site: Callable[..., Site]) -> None:
    site = open_site(soft_shutdown_timeout_s=30.0, lease_s=60.0)  # which runs out long after the test
    first = site.workers.start()
    idle = in_another_shard_than("hangs", "idle")
    site.wait_until_owned("hangs", idle)
    site.send.commit("acme", "hangs")
    beside = site.send.commit("acme", in_one_shard_with("hangs", "neighbour"))
    wait_for(lambda: site.done(beside), "the neighbour of the one that hangs to be served")
    second = site.workers.start()
    wait_for(lambda: second.name in {site.owner_of(f"any-{n}") for n in range(50)}, "an even share", 20)

    first.terminate()
    began_s = steady_clock()
    wait_for(
        lambda: all(
            site.owner_of(agent) == second.name
            for agent in map("any-{}".format, range(50))
            if shard_of("acme", agent, SHARDS) != shard_of("acme", "hangs", SHARDS)
        ),
        "all but the one shard to be the other worker's",
        20,
    )
    served = site.send.commit("acme", idle)
    wait_for(lambda: site.done(served), "the idle shard's agent to be served")
    assert first.process.poll() is None, f"it ended within {steady_clock() - began_s:.1f} s"
    site.mend()
    assert first.process.wait(20) == 0
