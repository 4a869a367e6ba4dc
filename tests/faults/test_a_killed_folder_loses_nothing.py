"""A folder that is killed at any of its steps loses nothing and leaves nothing behind for ever."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.repos.pending import FlushLimits
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.backends.local import LocalStore
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
from memrepo_worker.upkeep.folding import Folder, Known
from memrepo_worker.upkeep.owner import link_warm
from memrepo_worker.upkeep.scratch import sweep_scratch
from tests.support.folding import fold, folder, small_runs
from tests.support.killing import killed
from tests.support.writers import AGENT, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)


class Steps:
    """Kills this process before step ``last``, with no word to anybody, as a machine does."""

    def __init__(self, last: int) -> None:
        self._left = last

    def step(self) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


class SteppedStore(StoreDecorator):
    """Each request is two steps: before it, and after the store has done it."""

    def __init__(self, store: Store, steps: Steps) -> None:
        super().__init__(store)
        self._step = steps.step

    @override
    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self._step()
        return self._store.get(key, bytes_max)

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        self._step()
        version = self._store.put(key, data, when)
        self._step()
        return version

    @override
    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        self._step()
        return self._store.get_range(key, start, bytes_max, pin)

    @override
    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        self._step()
        version = self._store.put_stream(key, parts, when)
        self._step()
        return version

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self._step()
        return self._store.list(prefix, start_after)

    @override
    def delete(self, keys: Iterable[str]) -> None:
        self._step()
        self._store.delete(keys)
        self._step()


class SteppedProcesses(Processes):
    """Each process is two steps."""

    def run(self, *arguments: Any, **options: Any) -> bytes:
        step: Callable[[], None] = self.observer.step  # type: ignore[attr-defined]
        step()
        output = super().run(*arguments, **options)
        step()
        return output


class SteppedCounters(Counters):
    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self.step = steps.step


def killed_at(last: int, plain: Folder, known: Known) -> bool:
    """Fold in a process that is killed before its step ``last``; False where it has no such step."""

    def work() -> None:
        steps = Steps(last)
        processes = SteppedProcesses(SteppedCounters(steps))
        git = replace(plain.git, processes=processes)
        replace(plain, store=SteppedStore(plain.store, steps), git=git).fold(AGENT, known=known)

    return killed(work)


def accelerators(store: Store) -> list[str]:
    return [item.key for item in store.list(LAYOUT.prefix) if LAYOUT.accelerator_seq(item.key) is not None]


def accelerators_after_a_fold(folder: Path) -> list[str]:
    """Return the bases and segments that there are once a copy of the store was folded by one whom nobody kills."""
    shutil.copytree(folder / "store", folder / "unharmed")
    store = LocalStore(folder / "unharmed")
    fold(store, folder / "scratch")
    return accelerators(store)


@pytest.mark.parametrize(
    ("entries", "is_warm"),
    [(17, True), (21, True), (21, False)],
    ids=["base of base and segments", "segment beside a warm repository", "segment from the store"],
)
def test_at_no_step_is_anything_lost_or_left(
    *, entries: int, is_warm: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WarmRepo.__init__, "__defaults__", (FlushLimits(entries_max=1),))
    begun, scratch = LocalStore(tmp_path / "store"), tmp_path / "scratch"
    with small_runs(), writer(begun, tmp_path / "one") as one:
        one.ask(create(human="likes tea"))
        for number in range(2, entries + 1):
            one.ask(commit(f"step {number}", {"log": f"{number}\n"}))
            if number == entries - 4:
                fold(begun, scratch)
        expected = one.messages(), one.texts()
        known = Known(partial(link_warm, one.service.cache, AGENT)) if is_warm else Known()
        whole = accelerators_after_a_fold(tmp_path)
        for number in count(1):
            copy = tmp_path / f"store-{number}"
            shutil.copytree(tmp_path / "store", copy)
            store = LocalStore(copy)
            was_killed = killed_at(number, folder(store, scratch), known)
            with writer(store, tmp_path / f"two-{number}") as two:
                assert (two.messages(), two.texts()) == expected
            fold(store, scratch)
            left = [item.key for item in store.list(LAYOUT.prefix) if item.size < CONTENT_BYTES_MIN]
            assert (left, list(scratch.glob("*/"))) == ([], [])
            assert accelerators(store) == whole, "what a newer one stands for is gone, too"
            if not was_killed:
                assert number > 30
                return


def test_a_worker_that_begins_removes_what_a_killed_folder_left(tmp_path: Path) -> None:
    left = tmp_path / "scratch" / "left"
    left.mkdir(parents=True)
    (left / "joined.pack").write_bytes(b"pack")

    sweep_scratch(tmp_path / "scratch")

    assert not left.exists()
