"""What a memory's age costs the store where its owner folds it: rounds, objects and bytes, counted at each age.

``LONG=1`` goes on to 10,000 commits.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from random import Random

import pytest
from typing_extensions import override

from memrepo.limits import KIB, MIB
from memrepo.settings import environment
from memrepo_worker.bounds import Bounds
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.observe import Counters
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    GET_BYTES_MAX,
    Absent,
    ListedObject,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    Version,
    When,
)
from memrepo_worker.upkeep.runner import UpkeepRunner
from tests.support.delayed_store import DelayedStore
from tests.support.folding import fold, small_runs
from tests.support.writers import AGENT, Writer, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
AGES = (10, 100, 1_000, 10_000) if environment().get("LONG") == "1" else (10, 100, 1_000)
RUN = 64
PATIENCE_S = 600


class CountedStore(StoreDecorator):
    """Counts requests, those of commits apart, and the bytes written to each kind of key."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.requests: Counter[str] = Counter()
        self.written: Counter[str] = Counter()

    @override
    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self.requests["get"] += 1
        return self._store.get(key, bytes_max)

    @override
    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        self.requests["get"] += 1
        return self._store.get_range(key, start, bytes_max, pin)

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        self._written(key, len(data))
        return self._store.put(key, data, when)

    @override
    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        data = b"".join(parts)
        self._written(key, len(data))
        return self._store.put_stream(key, [data], when)

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self.requests["list"] += 1
        return self._store.list(prefix, start_after)

    @override
    def delete(self, keys: Iterable[str]) -> None:
        self.requests["delete"] += 1
        self._store.delete(keys)

    def _written(self, key: str, size: int) -> None:
        kind = key.removeprefix(LAYOUT.prefix).partition("/")[0] if key.startswith(LAYOUT.prefix) else "probe"
        self.requests["commit" if kind == "journal" else "put"] += 1
        self.written[kind] += size


def uneven_sleep() -> Callable[[float], None]:
    """Sleep for unequal times: so that of many requests at once, taken up by few threads, not all end together."""
    numbers = count()
    return lambda delay_s: time.sleep(delay_s * (1 + next(numbers) % 7 / 7))


def grow(one: Writer, first: int, last: int) -> None:
    for number in range(first, last + 1):
        one.ask(
            commit(f"step {number}", {f"file-{number % 20}": f"text {number}\n" * 20, "log": f"{number}"})
        )


def rounds_and_objects(store: Store, one: Writer, folder: Path) -> tuple[int, int]:
    """Open it cold, and return how many rounds that took, and how many objects were read.

    A thread that comes late makes one more of what goes side by side, and none fewer: so the least of some tries count.
    """
    rounds = []
    for attempt in range(5):
        with writer(DelayedStore(store, 0.03, uneven_sleep()), folder / f"{attempt}") as other:
            assert other.texts() == one.texts()
            counted = other.counters.snapshot()
        rounds.append(counted["store.rounds"])
        if rounds[-1] <= 3:
            break
    return min(rounds), counted["store.get.requests"]


def test_a_cold_open_of_more_than_may_be_on_its_way_at_a_time_takes_three_rounds_too(tmp_path: Path) -> None:
    """Base and segments are larger than a request, and some larger than what fits into memory beside them."""
    store = MemoryStore()
    with writer(store, tmp_path / "one") as one, small_runs():
        one.ask(create(human="likes tea"))
        for number in range(29):
            one.ask(commit(f"step {number}", {"log": Random(number).randbytes(700 * KIB).hex()}))
        fold(store, tmp_path / "scratch")
        found = {item.key.removeprefix(LAYOUT.prefix): item.size for item in store.list(LAYOUT.prefix)}
        read = [size for key, size in found.items() if not key.startswith("journal/")]
        assert len(read) == 3
        assert sum(read) > Bounds.cold_open_bytes_max
        assert max(read) > 8 * MIB

        rounds, _ = rounds_and_objects(store, one, tmp_path)

    assert rounds <= 3


@pytest.mark.timeout(3600)
def test_a_cold_open_takes_three_rounds_and_few_objects_and_folding_asks_and_writes_little(
    tmp_path: Path,
) -> None:
    beneath, counters = MemoryStore(), Counters()
    store, upkeep = CountedStore(beneath), UpkeepRunner(counters)
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create(human="likes tea"))
        age, folds = 1, 0
        for wanted in AGES:
            store.requests.clear()
            started = one.counters.snapshot().get("process.started", 0)
            for first in range(age + 1, wanted + 1, RUN):
                grow(one, first, min(first + RUN - 1, wanted))
                assert upkeep.wait_until_idle(PATIENCE_S)
            age = wanted
            done = counters.snapshot().get("upkeep.fold.done", 0)
            processes = one.counters.snapshot().get("process.started", 0) - started
            requests = sum(store.requests.values()) - store.requests["commit"]
            rounds, objects = rounds_and_objects(beneath, one, tmp_path / f"at-{wanted}")
            there = sum(item.size >= CONTENT_BYTES_MIN for item in beneath.list(LAYOUT.prefix))
            written = sum(store.written.values()) / store.written["journal"]
            print(
                f"{age:6,} commits: cold open {rounds} rounds, {objects} objects; {done - folds} folds asked "
                f"{requests} times and started {processes} processes; {there / age:.3f} objects a commit, "
                f"{written:.2f} times the bytes"
            )
            assert rounds <= 3
            assert objects <= 150
            assert requests <= 20 * (done - folds) + (40 if not folds else 0)
            assert processes <= 11 * (done - folds)
            assert there <= 1.1 * age
            assert written <= 4
            folds = done
        assert folds == (age - 1) // RUN
        assert not [name for name in counters.snapshot() if name.endswith(".failed")]
