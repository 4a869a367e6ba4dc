"""Agents as they are in the field: clients of memrepo itself, with what each call and job has said."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

from memrepo import (
    AsyncMemoryRepos,
    BrokerUnavailableError,
    Job,
    JobCancelledError,
    MemoryRepoBusyError,
    MemoryRepos,
    Settings,
)
from memrepo.dispatch.lost.resend import SENT_AGAIN
from memrepo.dispatch.lost.resend import log as resend_log

ORG = "acme"
READ_EVERY = 4
LARGE_EVERY = 10
"""So often a commit is too large for its message: its body travels beside it."""


@dataclass
class Attempt:
    """One call, as its caller sees it."""

    place: int
    sent_s: float
    done_s: float = 0.0
    outcome: str = ""
    """done, cancelled, not enqueued, may be enqueued, failed; empty while nothing was said."""
    sha: str = ""
    error: str = ""
    resent_by: float | None = None
    """The last place called for by when the broker had taken it, as the client sent it again by itself: it may take
    effect after any up to that, and after none later. Infinite where no answer says when it was taken."""

    @property
    def resent(self) -> bool:
        """Whether the client sent it again by itself."""
        return self.resent_by is not None

    def may_come_after(self, place: int) -> bool:
        """Whether what is called for at that place may take effect before it."""
        return place < self.place or (self.resent_by is not None and place <= self.resent_by)


@dataclass
class Asked:
    """One request: the call, and further ones with the same id."""

    agent: str
    is_read: bool
    request_id: str
    cancel_asked: bool = False
    attempts: list[Attempt] = field(default_factory=list)


@dataclass
class Clients:
    """What several clients ask, each of agents of its own; ``asked`` keeps it by request id."""

    settings: Settings
    """Of the client that takes its time; another one has the default times."""
    agents: list[str]
    random: Random
    per_s: float
    asked: dict[str, Asked] = field(default_factory=dict)
    cancel: Callable[[Job[Any]], object] | None = None
    """What is done to half of the jobs as soon as they are there."""
    _by_job: dict[str, Attempt] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _places: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _jobs: list[Job[Any]] = field(default_factory=list)
    _faults: list[BaseException] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask until the block ends, then wait for every job."""
        patient, hasty, loop = self.agents[::3], self.agents[1::3], self.agents[2::3]
        impatient = Settings(
            self.settings.broker_url,
            self.settings.result_url,
            shards=self.settings.shards,
            resend_after_s=self.settings.resend_after_s,
        )
        threads = [
            threading.Thread(target=self._guarded, args=(self._run_blocking, self.settings, patient)),
            threading.Thread(target=self._guarded, args=(self._run_blocking, impatient, hasty)),
            threading.Thread(target=self._guarded, args=(self._run_asyncio, self.settings, loop)),
        ]
        handler = _Resent(self._was_resent)
        resend_log.addHandler(handler)
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()
            resend_log.removeHandler(handler)
        if self._faults:
            raise self._faults[0]

    def all_begun(self) -> bool:
        """Whether every agent has a commit that is done."""
        done = {one.agent for one in list(self.asked.values()) if any(a.sha for a in one.attempts)}
        return len(done) == len(self.agents) or bool(self._faults)

    def longest_wait_s(self, since_s: float, until_s: float) -> float:
        """Return how long the slowest request that was under way between two moments waited after the first."""
        attempts = [attempt for one in self.asked.values() for attempt in one.attempts]
        waits = [
            attempt.done_s - max(attempt.sent_s, since_s)
            for attempt in attempts
            if attempt.sent_s < until_s and attempt.done_s > since_s
        ]
        return max(waits, default=0.0)

    def slowest(self, count: int) -> list[str]:
        """Return what took longest, a line each, with when it was sent."""
        attempts = [(attempt, one) for one in self.asked.values() for attempt in one.attempts]
        attempts.sort(key=lambda pair: pair[0].sent_s - pair[0].done_s)
        return [
            f"{attempt.done_s - attempt.sent_s:.1f} s, sent at {attempt.sent_s:.1f} s: {attempt.outcome} "
            f"{'read' if one.is_read else 'commit'} of {one.agent}, sent again {attempt.resent}"
            for attempt, one in attempts[:count]
        ]

    def _guarded(self, run: Callable[[Settings, list[str]], None], *args: Any) -> None:
        try:
            run(*args)
        except BaseException as error:  # noqa: BLE001 - told by who waits for the thread
            self._faults.append(error)

    def _run_blocking(self, settings: Settings, agents: list[str]) -> None:
        random = Random(self.random.random())
        with MemoryRepos(settings=settings) as repos:
            for number, agent, is_read in self._plan(agents, random):
                one = self._new(agent, is_read=is_read)
                self._call(repos, one, number)
                if one.attempts[-1].outcome in ("not enqueued", "may be enqueued") and random.random() < 0.5:
                    time.sleep(0.2)
                    self._call(repos, one, number)
                if number >= 2 * len(agents):
                    time.sleep(3 * random.random() * 2 / self.per_s)
            _wait_for_all(list(self._jobs))

    def _run_asyncio(self, settings: Settings, agents: list[str]) -> None:
        random = Random(self.random.random())

        async def run() -> None:
            async with AsyncMemoryRepos(settings=settings) as repos:
                for number, agent, is_read in self._plan(agents, random):
                    one = self._new(agent, is_read=is_read)
                    attempt = self._attempt(one)
                    self._keep(_ask(repos, one, number), one, attempt)
                    if number >= 2 * len(agents):
                        await asyncio.sleep(3 * random.random() * 2 / self.per_s)
                await asyncio.to_thread(_wait_for_all, list(self._jobs))

        asyncio.run(run())

    def _plan(self, agents: list[str], random: Random) -> Iterator[tuple[int, str, bool]]:
        """Yield which agent is asked what: each has a commit first, and is read only once that is done."""
        number = 0
        for agent in agents:
            yield number, agent, False
            number += 1
        while not self._over.is_set():
            ready = {one.agent for one in list(self.asked.values()) if any(a.sha for a in one.attempts)}
            agent = random.choice(agents)
            yield number, agent, number % READ_EVERY == 0 and agent in ready
            number += 1

    def _new(self, agent: str, *, is_read: bool) -> Asked:
        one = Asked(agent, is_read, str(uuid4()))
        with self._lock:
            self.asked[one.request_id] = one
        return one

    def _attempt(self, one: Asked) -> Attempt:
        with self._lock:
            self._places += 1
            attempt = Attempt(self._places, time.monotonic())
            one.attempts.append(attempt)
        return attempt

    def _call(self, repos: MemoryRepos, one: Asked, number: int) -> None:
        attempt = self._attempt(one)
        try:
            job = _ask(repos, one, number)
        except (BrokerUnavailableError, MemoryRepoBusyError) as error:
            _note_error(attempt, error)
            return
        self._keep(job, one, attempt)

    def _keep(self, job: Job[Any], one: Asked, attempt: Attempt) -> None:
        with self._lock:
            self._by_job[job.id] = attempt
            self._jobs.append(job)
        job.future.add_done_callback(lambda future: _note(attempt, future, is_read=one.is_read))
        cancel = self.cancel
        if cancel is not None and not one.is_read and one.attempts[0].place % 2 and self.all_begun():
            one.cancel_asked = True
            with suppress(BrokerUnavailableError):
                cancel(job)

    def _was_resent(self, job_id: str, how: str) -> None:
        with self._lock:
            attempt = self._by_job.get(job_id)
            if attempt is not None:
                by = self._places if how == SENT_AGAIN else math.inf
                attempt.resent_by = max(by, attempt.resent_by or 0)


class _Resent(logging.Handler):
    """Hears which jobs a client has sent again by itself, once the broker has them."""

    def __init__(self, tell: Callable[[str, str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 2:
            self._tell(*map(str, record.args))


def _ask(repos: Any, one: Asked, number: int) -> Job[Any]:
    repo = repos.repo(org_id=ORG, agent_id=one.agent)
    if one.is_read:
        read: Job[Any] = repo.get_head_sha()
        return read
    text = f"{number}: {one.request_id}\n" * (2_000 if number % LARGE_EVERY == 0 else 1)
    commit: Job[Any] = repo.commit(
        {f"notes/{number % 50}.md": text},
        f"commit {number}",
        create_repo_if_missing=True,
        request_id=one.request_id,
    )
    return commit


def _note(attempt: Attempt, future: Future[Any], *, is_read: bool) -> None:
    attempt.done_s = time.monotonic()
    error = future.exception()
    if error is not None:
        _note_error(attempt, error)
        return
    attempt.sha = future.result() if is_read else future.result().sha
    attempt.outcome = "done"


def _note_error(attempt: Attempt, error: BaseException) -> None:
    attempt.done_s = time.monotonic()
    attempt.error = f"{type(error).__name__}: {error}"
    if isinstance(error, JobCancelledError):
        attempt.outcome = "cancelled"
    elif isinstance(error, BrokerUnavailableError | MemoryRepoBusyError):
        doubtful = error.details.get("may_be_enqueued")
        attempt.outcome = "may be enqueued" if doubtful else "not enqueued"
    else:
        attempt.outcome = "failed"


def _wait_for_all(jobs: list[Job[Any]], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    for job in jobs:
        with suppress(Exception):
            job.future.exception(max(0.0, deadline - time.monotonic()))
