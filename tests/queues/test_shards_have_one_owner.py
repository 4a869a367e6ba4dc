from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from memrepo import MemoryRepos
from memrepo.errors import MemoryRepoBusyError
from memrepo.routing import shard_of
from memrepo.settings import Settings
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.group import Agent
from memrepo_worker.queues.consumer.task_request import TICKET_OVERHEAD_BYTES
from memrepo_worker.queues.leases.leases import read_owners
from memrepo_worker.queues.leases.owned import OwnedShard
from memrepo_worker.queues.leases.status import read_shards
from memrepo_worker.queues.transport.messages import pop
from memrepo_worker.settings import WorkerSettings
from tests.support.file_service import FileService
from tests.support.jobs import present
from tests.support.sending import Sender, sender
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for
from tests.support.workers import WorkerFleet, WorkerProcess, file_fleet

SHARDS = 16
LEASE_S = 2.0


@dataclass
class Site:
    """A broker of its own, workers, and what they did."""

    server: Valkey
    workers: WorkerFleet
    send: Sender
    service: FileService
    enqueued: dict[str, list[str]] = field(default_factory=dict)

    def owners(self) -> dict[int, str]:
        """Return the name of each shard's owner."""
        with self.server.client() as client:
            records = read_owners(client.hgetall("memrepo:owners"))
        return {shard: worker.partition("@")[0] for shard, (_, worker) in records.items()}

    def shares(self) -> list[int]:
        return sorted(Counter(self.owners().values()).values())

    def wait_for_shares(self, *shares: int) -> None:
        wait_for(lambda: self.shares() == sorted(shares), f"shares of {sorted(shares)}", 15)

    def commit(self, agents: int, rounds: int) -> None:
        """Enqueue a commit for each of the agents, again and again."""
        for _ in range(rounds):
            for number in range(agents):
                agent = f"a{number}"
                self.enqueued.setdefault(agent, []).append(self.send.commit("acme", agent))

    def done(self) -> bool:
        return all(len(self.log(agent)) >= len(ids) for agent, ids in self.enqueued.items())

    def log(self, agent: str) -> list[str]:
        return self.service.log(Agent("acme", agent))

    def check(self) -> None:
        """Everything enqueued was done once, in order, and got its result."""
        wait_for(self.done, "all commits to be done", 40)
        assert {agent: self.log(agent) for agent in self.enqueued} == self.enqueued
        for ids in self.enqueued.values():
            assert self.send.final(ids[-1])["status"] == "SUCCESS"
        wait_for(lambda: self.left() == 0, "all messages to be acknowledged")

    def mend(self) -> None:
        """Let those agents go on whose names begin with ``hangs``."""
        (self.service.folder / "mended").touch()

    def left(self) -> int:
        with self.server.client() as client:
            return sum(
                client.hlen(f"memrepo:unacked:{shard:03d}") + client.llen(f"memrepo.{shard:03d}")
                for shard in range(SHARDS)
            )


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def build(delay_s: float = 0.01, **overrides: Any) -> Site:
            server = stack.enter_context(valkey(tmp_path / "valkey", fsync="always"))
            values: dict[str, Any] = {
                "broker_url": server.url,
                "result_url": server.url,
                "shards": SHARDS,
                "lease_s": LEASE_S,
                "concurrency": 4,
                **overrides,
            }
            settings = WorkerSettings(**values)
            service = FileService(tmp_path / "done", delay_s)
            workers = stack.enter_context(file_fleet(tmp_path / "workers", settings, service.folder, delay_s))
            send = stack.enter_context(sender(server, SHARDS))
            return Site(server, workers, send, service)

        yield build


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    return open_site()


def owned_by(site: Site, worker: WorkerProcess) -> set[int]:
    return {shard for shard, owner in site.owners().items() if owner == worker.name}


def test_shards_follow_the_number_of_workers_with_few_moves_and_in_order(site: Site) -> None:
    site.workers.start()
    site.wait_for_shares(16)
    site.commit(agents=20, rounds=5)
    alone = site.owners()

    for _ in range(3):
        site.workers.start()
        site.commit(agents=20, rounds=5)
    site.wait_for_shares(4, 4, 4, 4)
    four = site.owners()
    site.commit(agents=20, rounds=5)

    for worker in site.workers.workers[1:3]:
        worker.terminate()
    site.commit(agents=20, rounds=5)
    site.wait_for_shares(8, 8)
    two = site.owners()
    site.commit(agents=20, rounds=5)

    site.check()
    staying = {site.workers.workers[0].name, site.workers.workers[3].name}
    assert sum(alone[shard] == four[shard] for shard in four) == 4
    assert all(two[shard] == four[shard] for shard in two if four[shard] in staying)
    assert [worker.process.wait(10) for worker in site.workers.workers[1:3]] == [0, 0]


def test_after_a_crash_the_others_go_on_in_order_and_nothing_is_lost(site: Site) -> None:
    first, second = site.workers.start(), site.workers.start()
    site.wait_for_shares(8, 8)
    kept = owned_by(site, second)
    site.commit(agents=20, rounds=10)
    wait_for(lambda: sum(len(site.log(agent)) for agent in site.enqueued) > 20, "work to be under way")

    first.kill()
    site.commit(agents=20, rounds=5)

    site.wait_for_shares(16)
    assert kept <= owned_by(site, second)
    site.check()


def test_a_worker_that_slept_past_its_lease_does_no_harm(site: Site) -> None:
    first, _ = site.workers.start(), site.workers.start()
    site.wait_for_shares(8, 8)
    site.commit(agents=20, rounds=10)

    first.pause()
    site.wait_for_shares(16)
    site.commit(agents=20, rounds=3)
    first.resume()
    site.commit(agents=20, rounds=3)

    site.wait_for_shares(8, 8)
    site.check()


def test_lost_connections_cost_no_shard_and_no_request(site: Site) -> None:
    site.workers.start()
    site.wait_for_shares(16)
    before = site.owners()
    with site.server.client() as client:
        tokens = client.hgetall("memrepo:owners")
    for _ in range(3):
        site.commit(agents=20, rounds=4)
        site.server.cut_all_connections()
        wait_for(lambda: sum(map(len, map(site.log, site.enqueued))) > 0, "work")

    site.check()
    assert site.owners() == before
    with site.server.client() as client:
        assert client.hgetall("memrepo:owners") == tokens


def test_a_broker_that_crashes_and_comes_back_finds_everybody_at_work(site: Site) -> None:
    site.workers.start()
    site.wait_for_shares(16)
    site.commit(agents=20, rounds=5)
    with site.server.client() as client:
        tokens = client.hgetall("memrepo:owners")

    site.server.kill()
    site.server.start()
    with sender(site.server, SHARDS) as site.send:
        site.commit(agents=20, rounds=5)

    site.check()
    with site.server.client() as client:
        assert client.hgetall("memrepo:owners") == tokens


def test_sigterm_gives_everything_back_in_order(open_site: Callable[..., Site]) -> None:
    site = open_site(delay_s=0.2, group_requests_max=2)
    first = site.workers.start()
    site.wait_for_shares(16)
    site.commit(agents=5, rounds=40)
    wait_for(lambda: any(map(site.log, site.enqueued)), "work to be under way")

    first.terminate()

    assert first.process.wait(10) == 0
    assert not site.done()
    assert site.owners() == {}
    site.workers.argument = {**site.workers.argument, "delay_s": 0.01}
    site.workers.start()
    site.check()


def test_a_second_sigterm_does_not_wait_and_loses_nothing(open_site: Callable[..., Site]) -> None:
    site = open_site(delay_s=30)
    first = site.workers.start()
    site.wait_for_shares(16)
    site.commit(agents=5, rounds=2)
    firsts = [ids[0] for ids in site.enqueued.values()]
    wait_for(lambda: any((site.send.meta(one) or {}).get("status") == "STARTED" for one in firsts), "a start")

    first.terminate()
    wait_for(lambda: site.left() == 10 and first.process.poll() is None, "the end to have begun")

    def ended_when_asked_again() -> bool:
        first.terminate()  # two that come close together may reach the process as one
        return first.process.poll() is not None

    wait_for(ended_when_asked_again, "the end", timeout_s=10, every_s=0.5)
    assert first.process.poll() == 1
    assert site.owners() == {}
    site.workers.argument = {**site.workers.argument, "delay_s": 0.01}
    site.workers.start()
    site.check()


def test_what_a_lost_answer_delivered_is_found_again_in_order(open_site: Callable[..., Site]) -> None:
    site = open_site()
    worker = site.workers.start()
    site.wait_for_shares(16)
    site.commit(agents=1, rounds=1)
    site.check()  # it consumes: paused while it starts, it would look for lost answers before there are any
    worker.pause()
    site.commit(agents=1, rounds=5)
    with site.server.client() as client:
        owners = read_owners(client.hgetall("memrepo:owners"))
        [queue] = [f"memrepo.{shard:03d}" for shard in owners if client.llen(f"memrepo.{shard:03d}")]
        shard = int(queue[-3:])
        with redis.Redis(port=site.server.port) as as_the_worker:
            pop(as_the_worker, [OwnedShard(shard, owners[shard][0], 0.0)], messages_max=3, bytes_max=10**6)
        assert client.hlen(f"memrepo:unacked:{shard:03d}") == 3
    site.server.cut_all_connections()
    worker.resume()

    site.check()


def test_a_request_that_was_cancelled_is_not_run_by_whoever_takes_over(site: Site) -> None:
    cancelled, kept = site.send.commit("acme", "a"), site.send.commit("acme", "a")
    with site.server.client() as client:
        client.set(f"celery-task-meta-{cancelled}", json.dumps({"status": "REVOKED", "task_id": cancelled}))
    site.workers.start()

    assert site.send.final(kept)["status"] == "SUCCESS"
    assert site.log("a") == [kept]
    wait_for(lambda: site.left() == 0, "both messages to be acknowledged")


def test_a_worker_takes_no_more_than_fits_in_its_memory(open_site: Callable[..., Site]) -> None:
    site = open_site(delay_s=0.05, parked_bytes_max=100_000)
    fits = SharingBounds.round_messages_max + 100_000 // TICKET_OVERHEAD_BYTES
    site.commit(agents=3, rounds=2 * fits)
    site.workers.start()
    seen: list[int] = []

    def done() -> bool:
        seen.append(in_flight(site))
        return site.done()

    wait_for(done, "all commits to be done", 40)

    assert 0 < max(seen) <= fits
    site.check()


def in_flight(site: Site) -> int:
    with site.server.client() as client:
        return sum(status.in_flight for status in read_shards(client, SHARDS))


def test_results_may_be_kept_on_another_server_than_the_broker(
    open_site: Callable[..., Site], tmp_path: Path
) -> None:
    with valkey(tmp_path / "results") as results:
        site = open_site(result_url=results.url)
        site.workers.start()
        one = site.send.commit("acme", "a")
        with results.client() as client:
            wait_for(
                lambda: '"SUCCESS"' in (client.get(f"celery-task-meta-{one}") or ""), "the result, there"
            )
        wait_for(lambda: site.left() == 0, "the message to be acknowledged")
        assert site.send.meta(one) is None


def test_the_status_of_shards_says_who_owns_what_and_what_waits(open_site: Callable[..., Site]) -> None:
    site = open_site()
    waiting = site.send.commit("acme", "hangs")
    shard = shard_of("acme", "hangs", SHARDS)
    with site.server.client() as client:
        before = read_shards(client, SHARDS)[shard]
        worker = site.workers.start()
        wait_for(lambda: (site.send.meta(waiting) or {}).get("status") == "STARTED", "the request to start")
        after = read_shards(client, SHARDS)[shard]
    site.mend()

    assert (before.owner, before.waiting, before.in_flight, before.lease_left_s) == (None, 1, 0, None)
    assert 0 <= present(before.oldest_waiting_s) < 60
    assert (present(after.owner).partition("@")[0], after.waiting, after.in_flight) == (worker.name, 0, 1)
    assert 0 < present(after.lease_left_s) <= LEASE_S
    assert 0 <= present(after.oldest_in_flight_s) < 60
    assert after.oldest_waiting_s is None


def test_inspect_shows_the_queues_that_a_worker_owns(site: Site) -> None:
    app = Celery(broker=site.server.url, set_as_current=False)
    first, second = site.workers.start(), site.workers.start()
    site.wait_for_shares(8, 8)

    def shown() -> dict[str, list[str]]:
        replies = app.control.inspect(timeout=30, limit=2).active_queues() or {}
        return {
            worker.partition("@")[0]: sorted(queue["name"] for queue in queues)
            for worker, queues in replies.items()
        }

    owned = {
        worker.name: sorted(f"memrepo.{shard:03d}" for shard in owned_by(site, worker))
        for worker in (first, second)
    }
    assert wait_for(lambda: shown() == owned, "inspect to show what is owned", 10)


def test_what_a_worker_has_taken_counts_for_the_depth_of_its_queue(open_site: Callable[..., Site]) -> None:
    site = open_site()
    site.workers.start()
    with MemoryRepos(
        settings=Settings(site.server.url, site.server.url, shards=SHARDS, shard_depth_max=3)
    ) as repos:
        repo = repos.repo(org_id="acme", agent_id="hangs")
        jobs = [repo.commit({"a.md": "x"}, "m") for _ in range(3)]
        wait_for(lambda: in_flight(site) == 3, "the worker to have taken all")
        with pytest.raises(MemoryRepoBusyError):
            repo.commit({"a.md": "x"}, "m").result(timeout_s=20)
    site.mend()
    assert [site.send.final(job.id)["status"] for job in jobs] == ["SUCCESS"] * 3
