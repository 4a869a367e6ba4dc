"""Folding a journal in tests: by hand, and in runs so small that a few commits fill them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo_worker.journal import runs
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.observe import Counters
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import Absent, Store, Version, When
from memrepo_worker.upkeep.folding import Folder, Folding
from memrepo_worker.upkeep.runner import UpkeepRunner
from tests.support.interleaving import InlineExecutor
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, Writer, writer

SMALL_RUNS = [4, 8, 16]
LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
_PATIENCE_S = 120


@contextmanager
def small_runs() -> Iterator[None]:
    """Have runs hold 4, 8 and 16 entries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_SIZES", SMALL_RUNS)
        yield


def folder(store: Store, scratch: Path) -> Folder:
    return Folder(store, stock_git(), InlineExecutor(), lambda: NOW_S, secrets.token_bytes, scratch)


def fold(store: Store, scratch: Path) -> Folding:
    """Fold the agent of ``writers``."""
    return folder(store, scratch).fold(AGENT)


@dataclass
class Owner:
    """A worker that owns the agent of ``writers``, and folds it when told."""

    writer: Writer
    upkeep: UpkeepRunner
    counters: Counters

    def fold(self) -> Counter[str]:
        """Have it folded as an owner does, beside the warm repository; return how its jobs ended until now."""
        self.writer.service.dependencies.opened(AGENT, 1_000)
        assert self.upkeep.wait_until_idle(_PATIENCE_S)
        return Counter(self.counters.snapshot())


@contextmanager
def owner(store: Store, cache_dir: Path) -> Iterator[Owner]:
    """Open a worker that folds; it is warm."""
    counters = Counters()
    upkeep = UpkeepRunner(counters)
    with writer(store, cache_dir, upkeep=upkeep) as one:
        one.messages()
        yield Owner(one, upkeep, counters)


def content_below(store: Store, seal: int) -> list[str]:
    """Return the keys below a seal that hold more than a marker or reservation."""
    found = []
    for item in store.list(LAYOUT.prefix):
        seq = LAYOUT.entry_seq(item.key)
        last = LAYOUT.accelerator_seq(item.key) if seq is None else seq
        if last is not None and last < seal and item.size >= CONTENT_BYTES_MIN:
            found.append(item.key)
    return found


class PausedStore(StoreDecorator):
    """A folder's store that lets something happen once, in a gap of its publishing; see ``GAPS``."""

    def __init__(self, store: Store, gap: str, action: Callable[[], object]) -> None:
        super().__init__(store)
        self._gap = gap
        self._action: Callable[[], object] | None = action

    def put(self, key: str, data: bytes, when: When) -> Version:
        if LAYOUT.accelerator_seq(key) is None:
            return self._store.put(key, data, when)
        self._reach("before its reservation")
        version = self._store.put(key, data, when)
        self._reach("after its reservation")
        return version

    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        self._reach("before its fill")
        version = self._store.put_stream(key, parts, when)
        self._reach("after its fill")
        return version

    def delete(self, keys: Iterable[str]) -> None:
        names = [*keys]
        if any(LAYOUT.accelerator_seq(key) is not None for key in names):
            self._reach("before it removes what it stands for")
        self._store.delete(names)

    def _reach(self, gap: str) -> None:
        action = self._action
        if gap == self._gap and action is not None:
            self._action = None
            action()


GAPS = (
    "before its reservation",
    "after its reservation",
    "before its fill",
    "after its fill",
    "before it removes what it stands for",
)
