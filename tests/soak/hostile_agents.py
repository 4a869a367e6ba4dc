"""Agents that mean harm, among those of a soak."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from memrepo import MemoryRepos, Settings
from tests.soak.brokers import Brokers
from tests.support.hostile import Hostile
from tests.support.sending import sender

AGENTS_PER_HOSTILE = 20
"""One of so many agents is hostile."""


@contextmanager
def hostile_agents(
    count: int, servers: Brokers, settings: Settings, size: float, seed: int
) -> Iterator[dict[str, int]]:
    """Run so many, each with one load after the other, until the block ends; give how often each load was tried."""
    over = threading.Event()
    rounds: dict[str, int] = {}
    threads = [
        threading.Thread(target=_run, args=(over, servers, settings, size, Random(seed + number), rounds))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        yield rounds
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _run(
    over: threading.Event,
    servers: Brokers,
    settings: Settings,
    size: float,
    random: Random,
    rounds: dict[str, int],
) -> None:
    with MemoryRepos(settings=settings) as repos:
        while not over.is_set():
            try:
                _one_load(repos, servers, settings.shards, size, random, rounds)
            except Exception:  # noqa: BLE001 - kombu and redis-py raise anything while the broker fails
                over.wait(0.5)
            over.wait(0.5)


def _one_load(
    repos: MemoryRepos,
    servers: Brokers,
    shards: int,
    size: float,
    random: Random,
    rounds: dict[str, int],
) -> None:
    server = servers.primary
    with sender(server, shards) as sending:
        loads = Hostile(repos, server, sending, size, shards, wait_s=10.0, random=random).loads()
        name = random.choice(sorted(loads))
        rounds[name] = rounds.get(name, 0) + 1
        loads[name]()
