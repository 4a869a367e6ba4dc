"""A run in which all happens that metrics tell of, with what its callers, its bucket and its broker say of it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from memrepo import Job, JobCancelledError, MemoryRepo, MemoryRepos, Settings, append
from memrepo.errors import MemoryRepoBusyError, MemoryRepoError
from memrepo_worker.testing import inline_repos
from tests.support.commands import MEMREPO
from tests.support.proxy import Proxy, proxy
from tests.support.scrape import Scrape, scrape
from tests.support.seaweedfs import BUCKET, SeaweedFs, admin_client, seaweedfs
from tests.support.sending import commit_request, sender
from tests.support.started import started
from tests.support.suspended import suspended
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

ORG = "acme"
SHARDS = 4
CONCURRENCY = 4
PREFIX = "measured"
FOLDED_AFTER = 64
EDITED_BYTES_MAX = 10_000

Ended = tuple[str, str, str]
"""Operation, outcome and error, as ``memrepo_requests_total`` has them for labels."""

_ENV = {
    "MEMREPO_SHARDS": str(SHARDS),
    "MEMREPO_CONCURRENCY": str(CONCURRENCY),
    "MEMREPO_METRICS_PORT": "0",
    "MEMREPO_LEASE_S": "1",
    "MEMREPO_EDITED_BYTES_MAX": str(EDITED_BYTES_MAX),
    "MEMREPO_PARKED_BYTES_MAX": "50000",
    "MEMREPO_CACHE_MEMORY_BYTES_MAX": "1",
    "MEMREPO_CACHE_REPOS_MAX": "8",
}


@dataclass(frozen=True)
class Worker:
    """A worker that is measured."""

    pid: int
    port: int
    cache: Path


@dataclass
class MeasuredRun:
    """What was sent and told, and the pages at moments that have names."""

    folder: Path
    broker: Valkey
    bucket: SeaweedFs
    store: Proxy
    repos: MemoryRepos
    told: Counter[Ended] = field(default_factory=Counter)
    pages: dict[str, Scrape] = field(default_factory=dict)
    objects: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """The bucket's keys and sizes at such moments."""
    workers: list[Worker] = field(default_factory=list)
    refused: int = 0
    """How many requests the broker's depths had its client refuse."""
    forged: int = 0
    sent_without_store: int = 0
    """How many requests were under way when the store was away."""
    began_s: float = field(default_factory=time.monotonic)
    took_s: float = 0.0
    appended_by_others: int = 0

    def memory(self, agent: str) -> MemoryRepo:
        """Return an agent's memory."""
        return self.repos.repo(org_id=ORG, agent_id=agent)

    def ask(self, operation: str, *jobs: Job[Any]) -> None:
        """Wait for jobs, and note what their caller was told."""
        for job in jobs:
            try:
                job.result(timeout_s=60)
                self.told[operation, "done", ""] += 1
            except JobCancelledError as error:
                self.told[operation, "cancelled", type(error).__name__] += 1
            except MemoryRepoError as error:
                self.told[operation, "failed", type(error).__name__] += 1

    def look(self, moment: str) -> Scrape:
        """Read all workers' pages, and the bucket, once everything that was asked for is counted."""
        ports = [worker.port for worker in self.workers]
        wanted = self.told.total()
        page = wait_for(
            lambda: now if (now := scrape(*ports)).total("memrepo_requests_total") >= wanted else None,
            f"{wanted} requests to be counted",
        )
        self.pages[moment] = page
        self.objects[moment] = self.list_bucket()
        return page

    def list_bucket(self) -> dict[str, int]:
        """Return the keys and sizes of what the bucket has."""
        pages = admin_client(self.bucket.endpoint_url).get_paginator("list_objects_v2")
        return {
            each["Key"]: each["Size"]
            for page in pages.paginate(Bucket=BUCKET, Prefix=f"{PREFIX}/")
            for each in page.get("Contents", ())
        }


def grown(before: Scrape, after: Scrape, name: str, **labels: str) -> float:
    """Return by how much the samples of a name have grown together."""
    return after.total(name, **labels) - before.total(name, **labels)


@contextmanager
def measured_run(folder: Path) -> Iterator[MeasuredRun]:
    """Have everything happen, and yield what is known of it while its workers still run."""
    with ExitStack() as stack:
        broker = stack.enter_context(valkey(folder / "valkey"))
        bucket = stack.enter_context(seaweedfs(folder / "seaweedfs"))
        store = stack.enter_context(proxy(bucket.endpoint_url))
        settings = Settings(broker.url, broker.url, shards=SHARDS)
        repos = stack.enter_context(MemoryRepos(settings=settings))
        run = MeasuredRun(folder, broker, bucket, store, repos)
        _begin_worker(run, stack)
        _commit_in_peace(run)
        _end_in_every_way(run)
        _fold(run)
        _find_damage(run)
        _lose_to_another_writer(run)
        _be_without_store(run, settings)
        _be_without_broker(run)
        _begin_worker(run, stack)
        wait_for(lambda: _shards_of(run) == [SHARDS / 2] * 2, "two workers to have half each")
        agents = [f"shared-{number}" for number in range(8)]
        run.ask("create_repo", *[run.memory(agent).create_repo() for agent in agents])
        run.look("settled")
        wait_for(lambda: _is_at_rest(scrape(*[one.port for one in run.workers])), "all to be at rest")
        run.look("end")
        run.took_s = time.monotonic() - run.began_s
        yield run


def _begin_worker(run: MeasuredRun, stack: ExitStack) -> None:
    folder = run.folder / f"worker-{len(run.workers)}"
    folder.mkdir()
    env = {
        **_ENV,
        **run.bucket.environment,
        "MEMREPO_BROKER_URL": run.broker.url,
        "MEMREPO_STORE_URL": run.bucket.store_url(PREFIX, endpoint_url=run.store.url),
        "MEMREPO_CACHE_DIR": str(folder / "cache"),
    }
    log = folder / f"{Path(MEMREPO).name}.log"
    process = stack.enter_context(
        started([MEMREPO, "worker"], folder=folder, env=env, ready=lambda: "ready: " in log.read_text())
    )
    (port,) = re.findall(r"metrics at http://127\.0\.0\.1:(\d+)/metrics", log.read_text())
    run.workers.append(Worker(process.pid, int(port), folder / "cache"))


def _shards_of(run: MeasuredRun) -> Sequence[float]:
    return [_owned(scrape(worker.port)) for worker in run.workers]


def _owned(page: Scrape) -> float:
    moves = {
        kind: page.total("memrepo_shard_moves_total", kind=kind) for kind in ("taken", "released", "lost")
    }
    return moves["taken"] - moves["released"] - moves["lost"]


def _is_at_rest(page: Scrape) -> bool:
    moving = ("memrepo_requests_unsettled", "memrepo_upkeep_jobs_pending", "memrepo_shards_without_owner")
    return all(page.total(name) == 0 for name in moving)


def _commit_in_peace(run: MeasuredRun) -> None:
    """Let one agent commit, then read, then ask for its history, with nothing beside it."""
    memory = run.memory("calm")
    run.ask("create_repo", memory.create_repo({"notes.md": "begun\n"}))
    run.look("begun")
    for number in range(10):
        run.ask("commit", memory.commit({"notes.md": f"{number}\n"}, "Learn"))
    run.look("committed")
    for _ in range(5):
        run.ask("get_files", memory.get_files())
    run.look("read")
    run.ask("get_history", memory.get_history(path="notes.md"))
    run.look("looked back")


def _end_in_every_way(run: MeasuredRun) -> None:
    """Have requests refused, cancelled, stopped at a bound, and one that is none."""
    memory = run.memory("mixed")
    run.ask("commit", run.memory("nobody").commit({"a.md": "x"}, "m"))
    run.ask("create_repo", memory.create_repo({"long.md": "x" * EDITED_BYTES_MAX}), memory.create_repo())
    run.ask("commit", memory.commit({"a.md": "x"}, "m", expected_head="0" * 40))
    run.ask("commit", memory.commit([append("long.md", "more")], "m"))
    with suspended(run.workers[0].pid):  # so that none has begun when it is cancelled
        jobs = [memory.commit({"a.md": f"{number}"}, "m") for number in range(6)]
        for job in jobs[::2]:
            job.cancel()
    run.ask("commit", *jobs)
    with sender(run.broker, SHARDS) as forger:
        forged = forger.send(commit_request(ORG, "mixed"), body=[[], {"request": 7}, {}])
        assert forger.final(forged)["status"] == "FAILURE"
    run.forged += 1
    run.told["commit", "failed", "InvalidRequestError"] += 1
    run.look("mixed")


def _fold(run: MeasuredRun) -> None:
    """Let a journal grow until it is folded."""
    memory = run.memory("long")
    run.ask("create_repo", memory.create_repo())
    for number in range(FOLDED_AFTER):
        run.ask("commit", memory.commit({"notes.md": f"{number}\n"}, "Learn"))
    wait_for(
        lambda: scrape(run.workers[0].port).total("memrepo_upkeep_jobs_total", kind="fold", outcome="done"),
        "its first entries to be folded",
    )
    run.look("folded")


def _folders(cache: Path) -> set[Path]:
    """Return the folder of each agent that has a warm repository."""
    return {path.parent for path in cache.rglob("*.git")}


def _find_damage(run: MeasuredRun) -> None:
    """Damage a warm repository that is on disk alone, and read it."""
    worker, event = run.workers[0], "unloaded"
    unloaded = run.pages["folded"].total("memrepo_cache_total", event=event)
    known = _folders(worker.cache)
    run.ask("create_repo", run.memory("damaged").create_repo({"notes.md": "sound\n"}))
    (folder,) = _folders(worker.cache) - known
    run.ask("create_repo", run.memory("after").create_repo())
    wait_for(
        lambda: scrape(worker.port).total("memrepo_cache_total", event=event) >= unloaded + 2,
        "the one before and this one to be written to disk, and let go",
    )
    packs = [*folder.rglob("*.pack")]
    assert packs
    for pack in packs:
        pack.write_bytes(bytes(pack.stat().st_size))
    run.ask("get_files", run.memory("damaged").get_files())
    run.look("healed")


def _lose_to_another_writer(run: MeasuredRun) -> None:
    """Have somebody else append to a journal that the worker takes for current."""
    memory = run.memory("raced")
    run.ask("create_repo", memory.create_repo())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in run.bucket.environment.items():
            patch.setenv(name, value)
        with inline_repos(store=run.bucket.store_url(PREFIX)) as others:
            theirs = others.repo(org_id=ORG, agent_id="raced").commit({"theirs.md": "x"}, "m")
            theirs.result(timeout_s=20)
    run.appended_by_others += 1
    run.ask("commit", memory.commit({"ours.md": "x"}, "m"))
    run.look("raced")


def _be_without_store(run: MeasuredRun, settings: Settings) -> None:
    """Let requests wait for the store, more than a worker takes in, and more than producers may send."""
    agents = [f"waits-{number}" for number in range(6)]
    run.ask("create_repo", *[run.memory(agent).create_repo() for agent in agents])
    run.store.loses_answers = True
    changes = {"notes.md": "x" * 4_000}
    jobs = [run.memory(agent).commit(changes, "m") for _ in range(10) for agent in agents]
    wait_for(lambda: jobs[0].status() == "retrying", "the worker to wait for the store")
    port = run.workers[0].port
    wait_for(
        lambda: now if (now := scrape(port)).total("memrepo_requests_waiting") else None, "some to be left"
    )
    run.pages["away"], run.sent_without_store = scrape(port), len(jobs)
    with MemoryRepos(settings=replace(settings, agent_depth_max=5)) as strict:
        for _ in range(3):
            try:
                strict.repo(org_id=ORG, agent_id=agents[0]).commit(changes, "m")
            except MemoryRepoBusyError:
                run.refused += 1
    older = run.pages["away"].total("memrepo_oldest_in_flight_seconds") + 1
    wait_for(
        lambda: scrape(port).total("memrepo_oldest_in_flight_seconds") > older, "what waits to grow older"
    )
    run.pages["still away"] = scrape(port)
    run.store.loses_answers = False
    run.ask("commit", *jobs)
    run.look("store is back")


def _be_without_broker(run: MeasuredRun) -> None:
    """Have the broker answer nobody until the worker has missed heartbeats."""
    port = run.workers[0].port
    run.broker.freeze()
    try:
        wait_for(lambda: scrape(port).total("memrepo_heartbeats_failed_total"), "heartbeats to fail")
        run.pages["without broker"] = scrape(port)
    finally:
        run.broker.thaw()
    wait_for(lambda: _owned(scrape(port)) == SHARDS, "the worker to have its shards again")
    run.ask("get_files", run.memory("calm").get_files())
