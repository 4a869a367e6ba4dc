"""A journal names an object that no entry has: who needs it is told which entry, and nobody else notices.

Every pack is sound, and so is the disk: it is no trouble of the machine, and waiting brings no object.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo_worker.git.objects import (
    MODE_FILE,
    MODE_TREE,
    Commit,
    GitObject,
    Ident,
    Kind,
    TreeEntry,
    encode_commit,
    encode_tree,
    object_id,
)
from memrepo_worker.group import Agent, Group, Lease, Success
from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS
from tests.service.test_a_fork_is_made_once import COPY, fork, on_copy
from tests.service.test_a_fork_is_made_once import ask as ask_fork
from tests.support.writers import AGENT, Writer, commit, create, delete, files, history, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
MAIN = "refs/heads/main"
NOWHERE = "2" * 40
SOMEBODY = Ident("somebody", "somebody@example.org", 1_750_000_000, "+0000")
SOUND, LATE = GitObject(Kind.BLOB, b"sound\n"), GitObject(Kind.BLOB, b"late\n")


@dataclass
class World:
    store: MemoryStore
    worker: Writer

    def write(self, seq: int, items: list[GitObject], refs: dict[str, str], *parents: str) -> None:
        objects = {object_id(item): item for item in items}
        self.store.put(LAYOUT.entry(seq), encode_entry(objects, refs, parents, ()), ALWAYS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = MemoryStore()
    with writer(store, tmp_path / "cache") as one:
        yield World(store, one)


def tree_of(**named: str) -> GitObject:
    return encode_tree({name: TreeEntry(MODE_FILE, sha) for name, sha in named.items()})


def commit_of(tree: GitObject, *parents: str) -> GitObject:
    return encode_commit(Commit(object_id(tree), parents, SOMEBODY, SOMEBODY, "a commit\n"))


def lack_a_file(world: World) -> None:
    """The first of two entries has a file that is nowhere."""
    tree = tree_of(sound=object_id(SOUND), lost=NOWHERE)
    first = commit_of(tree)
    second = commit_of(tree, object_id(first))
    world.write(1, [SOUND, tree, first], {MAIN: object_id(first)})
    world.write(2, [second], {MAIN: object_id(second)}, object_id(first))


def lack_a_folder(world: World) -> None:
    tree = encode_tree(
        {"folder": TreeEntry(MODE_TREE, NOWHERE), "sound": TreeEntry(MODE_FILE, object_id(SOUND))}
    )
    first = commit_of(tree)
    world.write(1, [SOUND, tree, first], {MAIN: object_id(first)})


def lack_a_parent(world: World) -> None:
    tree = tree_of(sound=object_id(SOUND))
    first = commit_of(tree, NOWHERE)
    world.write(1, [SOUND, tree, first], {MAIN: object_id(first)})


def damage(seq: int = 1) -> str:
    return f"damaged in the store at {LAYOUT.entry(seq)}: it needs object {NOWHERE}, which is in no entry"


def test_who_reads_a_file_that_is_nowhere_is_told_its_entry(world: World) -> None:
    lack_a_file(world)
    for _ in range(2):
        with pytest.raises(MemoryDamagedError, match=damage()):
            world.worker.ask(files())


def test_who_reads_a_folder_that_is_nowhere_is_told_its_entry(world: World) -> None:
    lack_a_folder(world)
    with pytest.raises(MemoryDamagedError, match=damage()):
        world.worker.ask(files())


@pytest.mark.parametrize("path", [None, "sound"])
def test_who_asks_for_a_history_with_a_commit_that_is_nowhere_is_told_its_entry(
    world: World, path: str | None
) -> None:
    lack_a_parent(world)
    with pytest.raises(MemoryDamagedError, match=damage()):
        world.worker.ask(history().model_copy(update={"path": path}))


def test_who_does_not_need_it_is_served_also_beside_who_does(world: World) -> None:
    lack_a_file(world)
    first, lost, second = world.worker.group(commit("first"), files(), commit("second"))
    assert isinstance(lost, MemoryDamagedError)
    assert (first.created, second.parent_sha) == (True, first.sha)


def test_no_other_agent_is_served_without_its_cache_for_it(world: World) -> None:
    lack_a_file(world)
    other = Agent("acme", "another")
    with pytest.raises(MemoryDamagedError):
        world.worker.ask(files())
    (made,) = world.worker.service(
        Group(other, (create(a="1").model_copy(update={"agent_id": other.agent_id}),), Lease("one", math.inf))
    )
    assert isinstance(made, Success)
    assert "cache.passed_by" not in world.worker.counters.snapshot()
    assert world.worker.service.trouble.lasting() is None


def test_it_is_told_also_while_the_cache_cannot_be_used(world: World) -> None:
    lack_a_file(world)
    world.worker.service.trouble.met(OSError(errno.ENOSPC, "full"))
    with pytest.raises(MemoryDamagedError, match=damage()):
        world.worker.ask(files())
    first, lost, second = world.worker.group(commit("first"), files(), commit("second"))
    assert isinstance(lost, MemoryDamagedError)
    assert (first.created, second.parent_sha) == (True, first.sha)


def test_who_asks_for_it_again_and_again_has_it_opened_cold_once_more_than_others(world: World) -> None:
    lack_a_file(world)
    world.worker.group(*(files() for _ in range(5)), commit("beside"), *(files() for _ in range(5)))
    assert world.worker.counters.snapshot()["repo.opened_cold"] <= 3


def test_an_object_that_comes_after_all_is_read(world: World) -> None:
    tree = tree_of(sound=object_id(SOUND), late=object_id(LATE))
    first = commit_of(tree)
    world.write(1, [SOUND, tree, first], {MAIN: object_id(first)})
    with pytest.raises(MemoryDamagedError):
        world.worker.ask(files())
    world.worker.ask(commit("it", {"again": LATE.data.decode()}))
    assert world.worker.texts() == {"sound": "sound\n", "late": "late\n", "again": "late\n"}


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("deleted", [False, True])
def test_a_fork_that_needs_it_is_told_the_entry_of_the_memory_that_it_copies(
    world: World, *, warm: bool, deleted: bool
) -> None:
    lack_a_parent(world)
    ref = "HEAD~1"
    if warm:
        world.worker.ask(commit("some"))
        ref = "HEAD~2"
    if deleted:
        copy = on_copy(world.worker)
        copy.ask(create(a="1").model_copy(update={"agent_id": COPY.agent_id}))
        copy.ask(delete().model_copy(update={"agent_id": COPY.agent_id}))
    with pytest.raises(MemoryDamagedError, match=f"{AGENT}, which was to be forked, is {damage()}"):
        ask_fork(world.worker, fork("fork-0001", ref=ref, history=False))
