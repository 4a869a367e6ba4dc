"""A folder that is paused, or dies, in any gap of its work, while others commit, delete, begin anew and fold.

What is below a delete that was acknowledged never comes back; and at each end a worker and stock git read what the
entries say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo_worker.journal.layout import CONTENT_BYTES_MIN
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.interface import Store
from tests.support.folding import GAPS, LAYOUT, PausedStore, content_below, fold, small_runs
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, Writer, commit, create, writer


@dataclass
class World:
    folder: Path
    store: LocalStore
    writer: Writer

    def steps(self, number: int) -> None:
        for step in range(number):
            self.writer.ask(commit(f"step {step}", {"log": f"{step}\n" * 20, f"file {step % 3}": f"{step}"}))

    def fold(self, store: Store | None = None) -> None:
        fold(store or self.store, self.folder / "scratch")

    def read_elsewhere(self) -> list[str]:
        with writer(self.store, self.folder / "elsewhere") as other:
            return other.messages()

    def restored(self) -> list[str]:
        agent = self.folder / "store" / AGENT.org_id / AGENT.agent_id / "repo.git"
        repo = restore(agent, self.folder / "restored.git")
        git(repo, "fsck", "--strict")
        return git(repo, "log", "--reverse", "--format=%s", "main").decode().split("\n")[:-1]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = LocalStore(tmp_path / "store")
    with small_runs(), writer(store, tmp_path / "cache") as each:
        each.ask(create(human="likes tea"))
        world = World(tmp_path, store, each)
        world.steps(9)
        world.fold()  # a base of 8, so that the next fold replaces it
        world.steps(10)
        yield world


def others_commit(world: World) -> None:
    world.steps(3)


def others_delete_and_begin_anew(world: World) -> None:
    world.writer.delete()
    world.writer.ask(create(new="life"))
    world.steps(2)


def others_delete_begin_anew_and_fold(world: World) -> None:
    others_delete_and_begin_anew(world)
    world.steps(8)
    world.fold()


def others_fold(world: World) -> None:
    world.fold()


def others_commit_and_fold_further(world: World) -> None:
    world.steps(16)
    world.fold()


OTHERS = (
    others_commit,
    others_delete_and_begin_anew,
    others_delete_begin_anew_and_fold,
    others_fold,
    others_commit_and_fold_further,
)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("others", OTHERS, ids=lambda others: others.__name__)
def test_a_folder_that_is_paused(world: World, gap: str, others: Callable[[World], None]) -> None:
    world.fold(PausedStore(world.store, gap, lambda: others(world)))

    expected = world.writer.messages()
    assert world.read_elsewhere() == world.restored() == expected
    if "delete" in others.__name__:
        assert content_below(world.store, 20 + 1) == []


@pytest.mark.parametrize("gap", GAPS)
def test_a_folder_that_is_paused_while_the_memory_is_deleted_for_good(world: World, gap: str) -> None:
    world.fold(PausedStore(world.store, gap, world.writer.delete))

    assert content_below(world.store, 20 + 1) == []


class Died(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("gap", GAPS)
def test_a_folder_that_dies_is_followed_by_the_next(world: World, gap: str) -> None:
    def die() -> None:
        raise Died

    with pytest.raises(Died):
        world.fold(PausedStore(world.store, gap, die))
    expected = world.writer.messages()
    assert world.read_elsewhere() == expected

    world.steps(1)
    world.fold()

    assert world.restored() == world.writer.messages()
    reservations = [item.key for item in world.store.list(LAYOUT.prefix) if item.size < CONTENT_BYTES_MIN]
    assert reservations == []
