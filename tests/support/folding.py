"""Folding a journal in tests: by hand, and in runs so small that a few commits fill them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memrepo_worker.journal import runs
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import Absent, Store, Version, When
from memrepo_worker.upkeep.folding import Folder, Folding
from tests.support.interleaving import InlineExecutor
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S

SMALL_RUNS = [4, 8, 16]


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


class PausedStore(StoreDecorator):
    """A folder's store that lets something happen once, in a gap of its publishing; see ``GAPS``."""

    def __init__(self, store: Store, gap: str, action: Callable[[], object]) -> None:
        super().__init__(store)
        self._gap = gap
        self._action: Callable[[], object] | None = action

    def put(self, key: str, data: bytes, when: When) -> Version:
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
        self._reach("before it removes what it stands for")
        self._store.delete(keys)

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
