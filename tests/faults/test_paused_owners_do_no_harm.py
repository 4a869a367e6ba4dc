"""An owner that is paused in any gap of its folding, while others commit, delete, begin anew and fold: on each store.

What is below a delete that was acknowledged never comes back; and what the others said is what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ABSENT, RefusedError, Store
from memrepo_worker.store.open import open_store
from tests.conformance.conftest import OPTIONS
from tests.support.folding import GAPS, LAYOUT, PausedStore, content_below, fold, owner, small_runs
from tests.support.writers import Writer, commit, create, writer

SEAL = 20 + 1


@dataclass
class Others:
    """Another worker over the same store, and whoever folds by hand."""

    store: Store
    writer: Writer
    scratch: Path

    def steps(self, number: int) -> None:
        for step in range(number):
            self.writer.ask(commit(f"step {step}", {"log": f"{step}\n" * 20, f"file {step % 3}": f"{step}"}))

    def fold(self) -> None:
        fold(self.store, self.scratch)

    def begin_anew(self) -> None:
        self.writer.delete()
        self.writer.ask(create(new="life"))
        self.steps(2)


def commit_and_fold_further(others: Others) -> None:
    others.steps(16)
    others.fold()


def fold_the_same(others: Others) -> None:
    others.fold()


def delete_for_good(others: Others) -> None:
    others.writer.delete()


def delete_and_begin_anew(others: Others) -> None:
    others.begin_anew()


def delete_begin_anew_and_fold(others: Others) -> None:
    others.begin_anew()
    others.steps(8)
    others.fold()


DELETES = (delete_for_good, delete_and_begin_anew, delete_begin_anew_and_fold)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    """A memory of 20 entries, with a base of 8 that the next fold replaces by one of 16."""
    folder, store = tmp_path_factory.mktemp("journal"), MemoryStore()
    with small_runs(), writer(store, folder / "one") as one:
        others = Others(store, one, folder / "scratch")
        one.ask(create(human="likes tea"))
        others.steps(9)
        others.fold()
        others.steps(10)
        yield store


@pytest.fixture
def store(shared_address: str, journal: MemoryStore) -> Store:
    begun = open_store(shared_address, OPTIONS)
    for item in journal.list(""):
        begun.put(item.key, journal.get(item.key, item.size).data, ABSENT)
    return begun


class EndingStore(PausedStore):
    """Its process ends before it has removed anything: what it does not clean up must not be there."""

    def delete(self, keys: Iterable[str]) -> None:
        names = [*keys]
        if any(LAYOUT.accelerator_seq(key) is not None for key in names):
            self._reach("before it removes what it stands for")
            raise RefusedError("the process is no more")
        self._store.delete(names)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize(
    "others_do", [commit_and_fold_further, fold_the_same, *DELETES], ids=lambda others: others.__name__
)
def test_an_owner_that_is_paused_while_others(
    others_do: Callable[[Others], None], gap: str, store: Store, tmp_path: Path
) -> None:
    with small_runs(), writer(store, tmp_path / "other") as other:
        others = Others(store, other, tmp_path / "scratch")
        reached: list[str] = []

        def act() -> None:
            reached.append(gap)
            others_do(others)

        kind = EndingStore if others_do in DELETES else PausedStore
        with owner(kind(store, gap, act), tmp_path / "owner") as paused:
            paused.fold()
        assert reached == [gap]
        if others_do in DELETES:
            assert content_below(store, SEAL) == []
        if others_do is not delete_for_good:
            with writer(store, tmp_path / "elsewhere") as judge:
                assert (judge.messages(), judge.texts()) == (other.messages(), other.texts())
