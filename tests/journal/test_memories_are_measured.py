"""How much of a store each memory takes, as ``memrepo store du`` tells it: by listing alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from memrepo.cli.main import main
from memrepo_worker.group import Agent
from memrepo_worker.inspection.memories import Memories, NotListedError, Size
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ALWAYS,
    GET_BYTES_MAX,
    ListedObject,
    Store,
    StoredObject,
    UnavailableError,
)
from tests.support.folding import fold, small_runs
from tests.support.writers import AGENT, commit, create, delete, writer


class ListingStore(StoreDecorator):
    """Gives no object, counts what it lists, and breaks after so many, so many times."""

    def __init__(self, store: Store, after: int = 0, breaks: int = 0) -> None:
        super().__init__(store)
        self.after = after
        self.breaks = breaks
        self.listed = 0

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        raise AssertionError(f"{key} was read")

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        for number, item in enumerate(super().list(prefix, start_after)):
            if self.breaks and number == self.after:
                self.breaks -= 1
                raise UnavailableError("cut")
            self.listed += 1
            yield item


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def put(store: Store, key: str, size: int = 0) -> None:
    store.put(key, b"x" * size, ALWAYS)


IDS = [("acme", "a-001"), ("zoo", "a-000")]


def agents(store: Store, number: int) -> list[Agent]:
    """Put so many memories of one entry each into a store, in two orgs."""
    made = [Agent("acme" if each % 2 else "zoo", f"a-{each:03d}") for each in range(number)]
    for agent in made:
        put(store, Layout.of(agent.org_id, agent.agent_id).entry(1), 10)
    return sorted(made)


def test_of_a_folded_memory_each_kind_is_counted_and_what_a_fold_would_join(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "cache") as one, small_runs():
        for number in range(10):
            one.ask(commit(f"step {number}", create_repo_if_missing=True))
        (before,) = Memories(store).listed()
        fold(store, tmp_path / "scratch")
        for number in range(10, 15):
            one.ask(commit(f"step {number}"))
        (after,) = Memories(store).listed()
        folded = fold(store, tmp_path / "scratch")
        (at_last,) = Memories(store).listed()

    assert before.agent == AGENT
    assert (before.size.entries, before.size.bases, before.size.segments, before.size.foldable) == (
        10,
        0,
        0,
        8,
    )
    assert (after.size.entries, after.size.bases, after.size.segments, after.size.foldable) == (15, 1, 0, 4)
    assert (at_last.size.foldable, at_last.size.segments) == (0, 1)
    assert at_last.size.bytes == after.size.bytes + folded.bytes_written
    assert at_last.size.bytes == sum(item.size for item in store.list(AGENT.org_id))


def test_a_deleted_memory_has_markers_a_seal_and_its_base(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(human="likes tea"))
        one.ask(commit("second"))
        one.ask(delete())

    (memory,) = Memories(store).listed()

    assert (memory.size.markers, memory.size.entries, memory.size.bases, memory.size.foldable) == (2, 1, 1, 0)


def test_reservations_and_old_files_are_neither_bases_nor_entries(store: LocalStore) -> None:
    layout = Layout.of("acme", "old")
    put(store, layout.legacy_head, 20)
    put(store, layout.base(64), 32)
    put(store, layout.segment(65, 128), 32)
    put(store, "_memrepo/identity.json", 50)

    (memory,) = Memories(store).listed()

    assert memory.size == Size(reservations=2, old_files=1, bytes=84)


FOREIGN = ("base/README", "journal/00000000000000000001.bundle.bak", "notes.txt", "segment/x.idx")


def test_what_lies_beside_is_counted_as_what_it_is(store: LocalStore) -> None:
    layout = Layout.of("acme", "a")
    put(store, layout.entry(1), 200)
    for name in ("base/00000000000000000064.idx", "segment/00000000000000000065-00000000000000000128.idx"):
        put(store, layout.prefix + name, 1)
    for name in ("HEAD", "config", "refs/heads/main", "objects/ab/cd", "index.lock", "COMMIT_EDITMSG"):
        put(store, layout.prefix + name, 10)
    for name in FOREIGN:
        put(store, layout.prefix + name, 1000)

    (memory,) = Memories(store).listed()

    assert memory.size == Size(entries=1, indexes=2, old_files=6, foreign=4, bytes=4262)
    assert (memory.foreign.count, memory.foreign.bytes) == (4, 4000)
    assert memory.foreign.names == [layout.prefix + name for name in FOREIGN[:3]]


def test_what_is_under_no_agents_prefix_is_told_once_however_often_a_listing_breaks(
    store: LocalStore,
) -> None:
    made = agents(store, 4)
    outside = ["README", "acme/notes.txt", "acme/a-001/notes.txt", "zoo/z/repo.git"]
    for key in (*outside, "_memrepo/identity.json", ".memrepo-probe/1-a/read"):
        put(store, key, 7)
    breaking = ListingStore(store, after=4, breaks=2)
    told: list[str] = []

    memories = Memories(breaking, sleep=lambda _: None).listed(on_outside=lambda item: told.append(item.key))

    assert [each.agent for each in memories] == made
    assert sorted(told) == sorted(outside)


def test_numbers_that_cannot_be_are_counted_and_stop_nobody(store: LocalStore) -> None:
    put(store, Layout.of("acme", "a").base(10**19), 200)
    put(store, Layout.of("acme", "b").entry(10**19), 200)

    assert [(memory.agent.agent_id, memory.size.foldable) for memory in Memories(store).listed()] == [
        ("a", 0),
        ("b", 0),
    ]


@pytest.mark.parametrize("stray", [10**7, 10**14, 10**19, 0])
def test_a_stray_number_is_told_as_foreign_and_counts_as_nothing_else(
    store: LocalStore, tmp_path: Path, stray: int
) -> None:
    layout = Layout.of(AGENT.org_id, AGENT.agent_id)
    with writer(store, tmp_path / "cache") as one, small_runs():
        for number in range(10):
            one.ask(commit(f"step {number}", create_repo_if_missing=True))
        (before,) = Memories(store).listed()
        strays = [layout.base(stray), layout.entry(stray), layout.segment(stray, stray)]
        for key in strays:
            put(store, key, 200)

        (memory,) = Memories(store).listed()

    kinds = "entries", "bases", "segments", "foldable"
    assert [getattr(memory.size, kind) for kind in kinds] == [getattr(before.size, kind) for kind in kinds]
    assert (memory.size.foreign, sorted(memory.foreign.names)) == (3, strays)
    assert memory.has_runs_to_make


def test_a_gap_ends_what_a_fold_would_join(store: LocalStore) -> None:
    layout = Layout.of("acme", "a")
    for seq in (1, 2, 3, 4, 5, 6, 900_000):
        put(store, layout.entry(seq), 200)

    with small_runs():
        (memory,) = Memories(store).listed()

    assert (memory.size.entries, memory.size.foldable, memory.size.foreign) == (7, 4, 0)
    assert memory.has_runs_to_make, "fold --all tries it, and tells of the gap"


def test_a_memory_of_strays_alone_is_one_that_is_verified(store: LocalStore) -> None:
    put(store, Layout.of("acme", "a").entry(10**19), 200)

    (memory,) = Memories(store).listed()

    assert memory.has_journal
    assert memory.size == Size(foreign=1, bytes=200)


def test_one_org_or_agent_is_listed_alone(store: LocalStore) -> None:
    made = agents(store, 6)

    assert [memory.agent for memory in Memories(store).listed("zoo")] == made[3:]
    assert [memory.agent for memory in Memories(store).listed("acme", "a-001")] == [made[0]]


def test_one_goes_on_after_any_memory_and_one_that_is_not_there_is_named(store: LocalStore) -> None:
    made = agents(store, 6)

    assert [memory.agent for memory in Memories(store).listed(after=made[3])] == made[4:]
    with pytest.raises(NotListedError, match="acme/nobody is not in"):
        list(Memories(store).listed(after=Agent("acme", "nobody")))


def test_no_object_is_read_and_none_listed_before_it_is_asked_for(store: LocalStore) -> None:
    agents(store, 100)
    listing = ListingStore(store)
    memories = Memories(listing).listed()

    next(memories)

    assert listing.listed <= 2
    assert len([*memories]) == 99


def test_a_listing_that_breaks_goes_on_after_what_it_has_shown(store: LocalStore) -> None:
    made = agents(store, 20)
    breaking = ListingStore(store, after=10, breaks=3)

    assert [each.agent for each in Memories(breaking, sleep=lambda _: None).listed()] == made


def test_a_listing_that_breaks_each_time_is_told_and_not_tried_for_ever(store: LocalStore) -> None:
    agents(store, 2)
    with pytest.raises(UnavailableError, match="cut"):
        list(Memories(ListingStore(store, breaks=10**6), sleep=lambda _: None).listed())


def run_du(store: LocalStore, *arguments: str) -> tuple[list[dict[str, object]], str]:
    told = CliRunner(env={"MEMREPO_STORE_URL": store.name}).invoke(
        main, ["store", "du", *arguments, "--json"]
    )
    assert told.exit_code == 0
    table = CliRunner(env={"MEMREPO_STORE_URL": store.name}).invoke(main, ["store", "du", *arguments])
    return [json.loads(line) for line in told.stdout.splitlines()], table.stderr


def test_the_command_names_what_memrepo_did_not_write(store: LocalStore) -> None:
    agents(store, 2)
    put(store, "acme/a-001/repo.git/base/README", 1000)
    put(store, "zoo/plan.txt", 5)

    lines, warnings = run_du(store)

    assert [(line["agent_id"], line["foreign"], line["foreign_names"]) for line in lines] == [
        ("a-001", 1, ["acme/a-001/repo.git/base/README"]),
        (None, 1, []),
        ("a-000", 0, []),
        (None, 0, []),
        (None, 2, ["zoo/plan.txt"]),
    ]
    assert warnings.splitlines() == [
        "WARNING: acme/a-001: 1 object of 1,000 bytes not written by memrepo: acme/a-001/repo.git/base/README",
        "WARNING: total: 1 object of 5 bytes not written by memrepo: zoo/plan.txt",
    ]
    assert run_du(store, "zoo")[0][-1]["foreign_names"] == ["zoo/plan.txt"]


def test_names_that_no_key_has_are_told_where_they_lie_in_a_folder_store(
    store: LocalStore, tmp_path: Path
) -> None:
    agents(store, 2)
    repo = tmp_path / "store" / "acme" / "a-001" / "repo.git"
    for path in (repo / "NOTES.txt", repo / "journal" / ".swp", tmp_path / "store" / "README"):
        path.write_bytes(b"12345")
    (repo / "Backup").mkdir()
    (repo / "Backup" / "not-looked-at").touch()
    (repo / os.fsdecode(b"caf\xe9")).touch()

    lines, warnings = run_du(store)

    assert [(line["agent_id"], line["foreign"], line["entries"]) for line in lines] == [
        ("a-001", 4, 1),
        (None, 4, 1),
        ("a-000", 0, 1),
        (None, 0, 1),
        (None, 5, 2),
    ]
    assert warnings.splitlines() == [
        (
            "WARNING: acme/a-001: 4 objects of 10 bytes not written by memrepo: acme/a-001/repo.git/Backup/, "
            "acme/a-001/repo.git/NOTES.txt, acme/a-001/repo.git/caf\\udce9 and 1 more"
        ),
        "WARNING: total: 1 object of 5 bytes not written by memrepo: README",
    ]
    assert [item.key for item in store.list("")] == [Layout.of(*ids).entry(1) for ids in IDS], "no object"


def test_the_command_sums_up_each_org_and_all(store: LocalStore) -> None:
    agents(store, 5)

    def du(*arguments: str) -> list[dict[str, object]]:
        told = CliRunner(env={"MEMREPO_STORE_URL": store.name}).invoke(
            main, ["store", "du", *arguments, "--json"]
        )
        return [json.loads(line) for line in told.stdout.splitlines()]

    def named(lines: list[dict[str, object]]) -> list[tuple[object, object, object]]:
        return [(line["org_id"], line["agents"], line["bytes"]) for line in lines if not line["agent_id"]]

    assert named(du("--summary")) == named(du()) == [("acme", 2, 20), ("zoo", 3, 30), (None, 5, 50)]
    assert len(du()) == 8
    assert named(du("zoo")) == [("zoo", 3, 30)]
    assert [line["agent_id"] for line in du("zoo", "a-002")] == ["a-002"]
