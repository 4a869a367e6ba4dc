"""A store, a writer on it, and what takes whole histories in: for the suites that need no more."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrepo.limits import Limits
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.local import LocalStore
from tests.support.stock_git import stock_git
from tests.support.writers import NOW_S, Writer, writer


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def one(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "one") as one:
        yield one


@pytest.fixture
def transfer(store: LocalStore) -> Iterator[Transfer]:
    with ThreadPoolExecutor(4) as executor:
        yield Transfer(store, stock_git(), executor, lambda: NOW_S, Limits())
