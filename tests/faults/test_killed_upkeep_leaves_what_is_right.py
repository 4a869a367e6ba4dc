"""A process that is killed at any step of repacking or of evicting: the next one serves right, and nothing is left.

A step is a change of a file or folder, or a process that is started.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from memrepo.wire.requests.base import Request
from memrepo_worker.bounds import CacheLimits
from memrepo_worker.group import Agent
from memrepo_worker.repos import repacking
from memrepo_worker.repos.slots import Usage, bytes_on_disk
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.upkeep import repacking as jobs
from memrepo_worker.upkeep.repacking import Repacker
from memrepo_worker.upkeep.runner import Stop
from tests.support.killing import killed
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, Writer, commit, create, files, history, writer

PACKS_MAX = 4
CHANGES = {
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.chmod", "os.truncate"),
    "subprocess.Popen",
}

pytestmark = pytest.mark.timeout(900)


def kill_before(step: int) -> None:
    """From now on have this process killed before its step of that number, with no word to anybody."""
    left = step

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in CHANGES or (event == "open" and _is_written(arguments)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)


def _is_written(arguments: tuple[object, ...]) -> bool:
    _, _, flags = arguments
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


@dataclass(frozen=True)
class World:
    """Memories of some agents in a store, and a cache that has them."""

    folder: Path

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "store")

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def keep(self) -> None:
        """Note how it is now."""
        shutil.copytree(self.folder, self.folder.with_suffix(".kept"))

    def begin_anew(self) -> None:
        """Have it again as it was; at the same place, by which a cache knows a store."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.folder.with_suffix(".kept"), self.folder)


def as_agent(one: Writer, agent: Agent) -> Writer:
    return replace(one, agent=agent)


def ask(one: Writer, agent: Agent, request: Request) -> object:
    return as_agent(one, agent).ask(request.model_copy(update={"agent_id": agent.agent_id}))


def step(one: Writer, agent: Agent, number: int) -> None:
    """Commit, and leave it in memory."""
    ask(one, agent, commit(f"step {number}", {f"file-{number % 2}": f"text {number}\n" * 40}))


def save(one: Writer, agent: Agent) -> None:
    with one.service.cache.hold(agent) as held:
        warm = held.find()
        assert warm is not None
        warm.save()


def answers(one: Writer, agents: Sequence[Agent]) -> list[object]:
    return [ask(one, agent, request) for agent in agents for request in (files(), history())]


def on_disk(cache: Path) -> Usage:
    found = list(cache.glob("slot-*/*/"))
    return Usage(len(found), sum(map(bytes_on_disk, found)))


def strays(cache: Path, one: Writer, agents: Sequence[Agent]) -> list[Path]:
    """Return what lies in a cache folder that is no part of a repository which the cache knows."""
    left: set[Path] = {path for path in cache.glob("slot-*/*") if path.name != "lock"}
    found: list[Path] = []
    for agent in agents:
        with one.service.cache.hold(agent) as held:
            warm = held.find()
            assert warm is not None
            left.discard(warm.path.parent)
            found += [path for path in warm.path.parent.iterdir() if path != warm.path]
            packs = (warm.path / "objects/pack").iterdir()
            found += [path for path in packs if path.stem not in warm.packs.files]
            found += [*warm.path.glob("**/.*.new"), *warm.path.glob("objects/repack")]
    return [*found, *left]


def at_each_step(
    world: World, agents: Sequence[Agent], work: Callable[[Writer], Callable[[], object]]
) -> int:
    """Have a process killed before each step of some work, and the next one be right; return how many steps there are.

    ``work`` prepares it, and returns what is to be done in steps.
    """
    world.keep()
    number = 0
    was_killed = True
    while was_killed:
        number += 1
        world.begin_anew()

        def die(number: int = number) -> None:
            with writer(world.store, world.cache) as one:
                do = work(one)
                kill_before(number)
                do()
                os._exit(0)

        was_killed = killed(die)
        with writer(world.store, world.folder / "cold") as judge:
            expected = answers(judge, agents)
        with writer(world.store, world.cache) as one:
            assert answers(one, agents) == expected
            assert one.service.cache.accounts.usage == on_disk(world.cache)
            assert strays(world.cache, one, agents) == []
    return number - 1


def test_repacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (repacking, jobs):
        monkeypatch.setattr(module, "PACKS_MAX", PACKS_MAX)
    world = World(tmp_path / "world")
    with writer(world.store, world.cache) as one:
        one.ask(create(human="likes tea"))
        for number in range(PACKS_MAX):
            step(one, AGENT, number)
            save(one, AGENT)

    def work(one: Writer) -> Callable[[], object]:
        step(one, AGENT, 100)
        return lambda: Repacker(one.service.cache, stock_git()).repack(AGENT, Stop())

    assert at_each_step(world, [AGENT], work) > 30


def test_evicting(tmp_path: Path) -> None:
    agents = [Agent("acme", f"agent-{number}") for number in range(3)]
    world = World(tmp_path / "world")
    with writer(world.store, world.cache) as one:
        for agent in agents:
            ask(one, agent, create(human="likes tea"))
            step(one, agent, 1)
            save(one, agent)

    def work(one: Writer) -> Callable[[], object]:
        cache = one.service.cache
        for agent in agents:
            step(one, agent, 2)
        assert cache.accounts.usage.repos == len(agents)
        cache.accounts.limits = CacheLimits(repos_max=1, memory_bytes_max=1)

        def evict() -> None:
            ask(one, agents[-1], files())
            assert cache.accounts.usage.repos == 1

        return evict

    assert at_each_step(world, agents, work) > 30
