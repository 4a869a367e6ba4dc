"""A program that forks at a named moment around its client's first call, and tells whether parent and child work.

It is told a case by its arguments: the broker's address, the kind of client (``sync`` or ``asyncio``), the moment (the
name of one of our functions in which another thread is held while the process forks, or one of ``STATES``, where
nothing is held), and whether other threads call by the same client all the while (``beside``) or not (``alone``).
Each process asks for something, waits for what the call around the fork has asked for if it has its job, and ends by
itself. What became of it is printed as JSON.

Without arguments it loads all that a client needs, and then makes a process of each case that it reads, a line of JSON
each: so many cases take one start. A case that is held in an import needs a program of its own.
"""

from __future__ import annotations

import asyncio
import builtins
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from tempfile import TemporaryFile
from typing import Any

from memrepo import AsyncMemoryRepos, Job, MemoryRepos, Settings

TIMEOUT_S = 30
STATES = ("made", "called", "enqueued", "answered")
IMPORTS = {"an import": "kombu.transport", "an import of who listens": "email.feedparser"}
"""What a thread has begun to import when the process wants to fork, which then has to wait for it."""
LOADED = (
    "celery.app.amqp",
    "kombu.transport.redis",
    "memrepo.redis.celery_app",
    "memrepo.dispatch.dispatcher",
)
CALLERS = 2

reached, forking, forked = threading.Event(), threading.Event(), threading.Event()
os.register_at_fork(before=forking.set, after_in_parent=forked.set, after_in_child=forked.set)


def hold(moment: str) -> None:
    """Have whichever thread first comes to a moment wait there until the process has forked."""
    if moment in IMPORTS:
        builtins.__import__ = held(
            builtins.__import__, forking, lambda name: name.startswith(IMPORTS[moment])
        )
        return
    module, _, path = moment.partition(":")
    owner, _, name = path.rpartition(".")
    place = getattr(import_module(module), owner) if owner else import_module(module)
    setattr(place, name, held(getattr(place, name), forked))


def held(function: Any, until: threading.Event, when: Callable[[Any], bool] = lambda _: True) -> Any:
    def wait_first(*args: Any, **options: Any) -> Any:
        if when(args[0] if args else None) and not reached.is_set():
            reached.set()
            until.wait(TIMEOUT_S)
        return function(*args, **options)

    return wait_first


class Program:
    """One client, and the job of its first call once there is one."""

    def __init__(self, url: str, kind: str) -> None:
        self._blocks = kind == "sync"
        settings = Settings(url, url, connect_timeout_s=TIMEOUT_S, enqueue_timeout_s=2 * TIMEOUT_S)
        self._repos: Any = (MemoryRepos if self._blocks else AsyncMemoryRepos)(settings=settings)
        self.job: Job[str] | None = None

    def ask(self) -> Job[str]:
        """Call; with asyncio in a loop of its own, in which the job is made only."""
        repo = self._repos.repo(org_id="acme", agent_id="agent-1")
        if self._blocks:
            called: Job[str] = repo.get_head_sha()
            return called

        async def call() -> Job[str]:
            job: Job[str] = repo.get_head_sha()
            return job

        return asyncio.run(call())

    def answer(self, job: Job[str]) -> str:
        """Wait for a job's result."""
        if self._blocks:
            return job.result(timeout_s=TIMEOUT_S)

        async def wait() -> str:
            async with asyncio.timeout(TIMEOUT_S):
                return await job

        return asyncio.run(wait())

    def enqueue(self) -> None:
        """Make the first call, and return when the broker holds it."""
        self.job = self.ask()
        if not self._blocks:
            asyncio.run(self.job.enqueued())

    def work_on(self) -> str:
        """Wait for what was asked for before, and ask for something new."""
        if self.job is not None:
            self.answer(self.job)
        return self.answer(self.ask())

    def close(self) -> None:
        """Close the client."""
        if self._blocks:
            self._repos.close()
        else:
            asyncio.run(self._repos.close())


def at_state(program: Program, state: str) -> None:
    if state in ("called", "enqueued"):
        program.job = program.ask()
    if state == "enqueued":
        program.enqueue()
    if state == "answered":
        program.enqueue()
        assert program.job is not None
        program.answer(program.job)


def call_on(program: Program, enough: threading.Event) -> None:
    while not enough.is_set():
        program.answer(program.ask())


def main(url: str, kind: str, moment: str, beside: str) -> None:
    """Fork at the moment; print what became of both."""
    program, caller, enough = Program(url, kind), None, threading.Event()
    callers = [threading.Thread(target=call_on, args=(program, enough)) for _ in range(CALLERS)]
    if moment in STATES:
        at_state(program, moment)
    else:
        hold(moment)
        caller = threading.Thread(target=program.enqueue, daemon=True)
        caller.start()
        assert reached.wait(TIMEOUT_S), "the moment was not reached"
    if beside == "beside":
        for one in callers:
            one.start()
    child = os.fork()
    if child == 0:
        assert program.work_on()
        program.close()
        sys.exit(0)
    if caller is not None:
        caller.join(TIMEOUT_S)
    found = {"parent": program.work_on(), "child": _ended(child)}
    enough.set()
    for one in callers:
        if one.ident is not None:
            one.join(TIMEOUT_S)
    program.close()
    print(json.dumps(found))


def _ended(child: int) -> int:
    """Return how a child has ended: its exit code, or -9 where it had to be killed."""
    ends_at_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < ends_at_s:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def next_case() -> list[str] | None:
    """Return the case of the process that this one is from here on; None in the first, once there are no more."""
    for module in LOADED:
        import_module(module)
    gc.collect()
    gc.freeze()  # or a collection in the process of a case would touch, and so copy, all of its memory
    for line in sys.stdin:
        with TemporaryFile() as out, TemporaryFile() as err:
            if (child := os.fork()) == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                for event in (reached, forking, forked):
                    event.clear()
                case: list[str] = json.loads(line)
                return case
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            told = [file.seek(0) or file.read().decode() for file in (out, err)]
        print(json.dumps([code, *told]), flush=True)
    return None


if __name__ == "__main__" and (case := sys.argv[1:] or next_case()):
    main(*case)
