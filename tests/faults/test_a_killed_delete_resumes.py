"""A worker that is killed at every tenth marker of a long delete, again and again, frees all, and says so once."""

from __future__ import annotations

import os
import signal
from itertools import count, pairwise
from pathlib import Path

import pytest
from typing_extensions import override

from memrepo.errors import RepoNotFoundError
from memrepo.settings import environment
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ALWAYS, Store, Version, When
from tests.support.killing import killed
from tests.support.writers import AGENT, commit, create, delete, files, writer

LONG = environment().get("LONG") == "1"
ENTRIES = 10_000 if LONG else 150
JOURNAL = f"{AGENT}/repo.git/journal/"

pytestmark = pytest.mark.timeout(0 if LONG else 120)


class KillingStore(StoreDecorator):
    """Kills this process where it has written its tenth marker, with no word to anybody, as a machine does."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._markers = count(1)

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        version = self._store.put(key, data, when)
        if when is ALWAYS and not data and next(self._markers) == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return version


def with_content(store: Store) -> int:
    return sum(item.size > 0 for item in store.list(JOURNAL))


def killed_while_it_deletes(store: LocalStore, cache_dir: Path) -> bool:
    """Delete in a process that is killed at its tenth marker; False where it comes to the end."""

    def work() -> None:
        with writer(KillingStore(store), cache_dir) as one:
            one.group(delete("delete-it-all"))

    return killed(work)


def test_killed_at_every_tenth_marker_it_frees_more_each_time_and_comes_to_its_end(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    with writer(store, tmp_path / "one") as one:
        one.ask(create(human="likes tea"))
        for number in range(1, ENTRIES):
            one.ask(commit(f"step {number}", {"log": f"{number}\n"}))

    left, kills = [with_content(store)], 0
    while killed_while_it_deletes(store, tmp_path / "two"):
        kills += 1
        left.append(with_content(store))

    assert kills >= ENTRIES // 14, "up to four are under way beside the tenth"
    assert all(after <= before - 10 for before, after in pairwise(left[1:]))
    assert with_content(store) == 1
    with writer(store, tmp_path / "three") as three:
        (outcome,) = three.group(files())
        assert isinstance(outcome, RepoNotFoundError)
        three.ask(delete("delete-it-all"))  # known by its id
        assert three.ask(commit("anew", create_repo_if_missing=True)).created
