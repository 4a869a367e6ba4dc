"""A memory is followed while everything around it fails: each change is told at least once, and in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from memrepo import Change, MemoryRepo, MemoryRepos
from memrepo.settings import environment
from tests.support.systems import running_worker
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import wait_for

LONG = environment().get("LONG") == "1"
COMMITS = 5_000 if LONG else 300
TURNS = 20 if LONG else 6
"""In how many parts they are made; after each something fails."""

ENV = {"MEMREPO_LEASE_S": "1"}
WAIT_S = 120

pytestmark = pytest.mark.timeout(0 if LONG else 240)


@dataclass
class Follower:
    """Follows a memory in a thread, with a client of its own; begins anew, from its cursor, when it is told to."""

    broker_url: str
    seen: list[Change] = field(default_factory=list)
    restarts: int = 0
    _restart: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _progress: threading.Condition = field(default_factory=threading.Condition)

    def run(self) -> None:
        after = 0
        while not self._over.is_set():
            self._restart.clear()
            with MemoryRepos(broker_url=self.broker_url) as repos:
                watch = repos.repo(org_id="acme", agent_id="followed").watch(after=after)
                ending = threading.Thread(target=lambda one=watch: (self._restart.wait(), one.close()))
                ending.start()
                for change in watch:
                    with self._progress:
                        self.seen.append(change)
                        self._progress.notify_all()
                    after = change.resume_after
                ending.join()

    def restart(self) -> None:
        self.restarts += 1
        self._restart.set()

    def end(self) -> None:
        self._over.set()
        self._restart.set()

    def wait_for(self, new: str) -> None:
        """Return when it was told of a change to that commit."""
        with self._progress:
            assert self._progress.wait_for(lambda: any(one.new == new for one in self.seen), WAIT_S)


@contextmanager
def following(broker_url: str) -> Iterator[Follower]:
    follower = Follower(broker_url)
    with ThreadPoolExecutor(1) as thread:
        followed = thread.submit(follower.run)
        try:
            yield follower
        finally:
            follower.end()
        followed.result()


def commit(repo: MemoryRepo, first: int, count: int) -> list[str]:
    jobs = [repo.commit({"log": str(number)}, f"{number}") for number in range(first, first + count)]
    return [job.result(timeout_s=WAIT_S).sha for job in jobs]


def fail(turn: int, server: Valkey, follower: Follower, worker_pid: int) -> None:
    """Have something happen after a part; then the worker is killed, unless it has handed over before."""
    if turn % 3 == 0:
        worker = psutil.Process(worker_pid)
        worker.terminate()
        wait_for(lambda: worker.status() == psutil.STATUS_ZOMBIE, "the worker has handed over", WAIT_S)
    elif turn % 3 == 1:
        server.kill()
        server.start()
    else:
        follower.restart()


def test_each_change_is_told_in_order_while_all_around_it_fails(tmp_path: Path) -> None:
    part, lives = COMMITS // TURNS, 1
    made: list[str] = []
    url = f"file://{tmp_path / 'store'}"
    with (
        valkey(tmp_path / "valkey", fsync="always") as server,
        MemoryRepos(broker_url=server.database(0)) as repos,
        following(server.database(0)) as follower,
    ):
        repo = repos.repo(org_id="acme", agent_id="followed")
        for turn in range(TURNS):
            with running_worker(tmp_path / f"worker-{turn}", server, url, env=ENV) as worker:
                if turn == TURNS // 2:
                    follower.wait_for(made[-1])
                    repo.delete_repo().result(timeout_s=WAIT_S)
                    lives += 1
                if not turn or turn == TURNS // 2:
                    made.append(repo.create_repo({"log": ""}).result(timeout_s=WAIT_S).sha)
                made += commit(repo, turn * part, part)
                fail(turn, server, follower, worker.worker_pid)
        with running_worker(tmp_path / "last", server, url, env=ENV):
            follower.wait_for(made[-1])

    told: dict[int, Change] = {}
    for change in follower.seen:
        assert told.setdefault(change.seq, change) == change, "told again, it says the same"
    assert [one.seq for one in told.values()] == sorted(told), "new ones come in order"
    assert [sha for one in told.values() for sha in one.commits] == made
    assert [one.ref for one in told.values() if one.new is None] == ["HEAD"] * (lives - 1)
    assert follower.restarts
    assert len(follower.seen) - len(told) <= follower.restarts, "and hardly any twice"
