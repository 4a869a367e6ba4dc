"""What was read or written last is read from memory, so that a memory on disk is read like one that is new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from memrepo.limits import KIB
from memrepo_worker.git.objects import GitObject, Kind
from memrepo_worker.git.packed.directory import Header, PackDirectory
from memrepo_worker.git.packed.recent_files import RecentFiles
from memrepo_worker.group import Agent
from memrepo_worker.store.backends.local import LocalStore
from tests.support.writers import Writer, commit, create, files, writer

FILES = {f"notes-{number // 10}/{number}.md": f"note {number}\n" for number in range(40)}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from packs, by id."""
    found: list[str] = []
    find = PackDirectory.find

    def noted(packs: PackDirectory, sha: str) -> GitObject | None:
        item = find(packs, sha)
        if item is not None and item.kind is Kind.BLOB:
            found.append(sha)
        return item

    monkeypatch.setattr(PackDirectory, "find", noted)
    return found


def test_a_memory_that_is_on_disk_is_read_without_its_packs_like_one_that_waits_in_memory(
    one: Writer, read: list[str]
) -> None:
    one.ask(create(**FILES))
    assert one.texts() == FILES
    assert not one.warm().packs.files, "a new one waits in memory"

    for number in range(70):
        one.ask(commit("learn", {f"notes-0/{number % 10}.md": f"changed {number}\n"}))
    texts = one.texts()

    assert one.warm().packs.files
    assert len(texts) == len(FILES)
    assert read == []


def test_a_memory_that_a_worker_finds_on_disk_is_read_from_its_packs_once(
    store: LocalStore, tmp_path: Path, read: list[str]
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create(**FILES))
        for number in range(5):
            one.ask(commit("learn", {"notes-0/1.md": f"changed {number}\n"}))
        expected = one.texts()
    with writer(store, tmp_path / "one") as one:
        assert [one.texts() for _ in range(3)] == [expected] * 3
    assert len(read) == len(set(read)) == len(FILES)


# How much of them stays


SIZE = 1000


class Packs(PackDirectory):
    """Packs whose every object is a file of so many bytes, but for one that is a tree; notes what is read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def find(self, sha: str) -> GitObject | None:
        """Return an object; note it."""
        self.read.append(sha)
        return None if sha == "absent" else GitObject(Kind.TREE if sha == "tree" else Kind.BLOB, bytes(SIZE))

    def header(self, sha: str) -> Header | None:
        """Return an object's kind and size."""
        item = self.find(sha)
        return None if item is None else (item.kind, len(item.data))


def test_the_last_files_that_were_read_stay_and_no_trees() -> None:
    packs = Packs()
    recent = RecentFiles(packs, bytes_max=3 * 1400)
    for sha in ["1", "2", "3", "1", "4", "tree", "absent"]:
        recent.find(sha)
    packs.read.clear()

    for sha in ["1", "3", "4"]:
        assert recent.header(sha) == (Kind.BLOB, SIZE)
        assert recent.find(sha) == GitObject(Kind.BLOB, bytes(SIZE))
    assert packs.read == []
    assert recent.header("tree") == (Kind.TREE, SIZE)
    assert recent.find("absent") is None
    recent.find("2")
    assert packs.read == ["tree", "absent", "2"]


def test_what_stays_is_bounded_and_counts_as_memory() -> None:
    recent = RecentFiles(Packs(), bytes_max=2_000_000)
    blobs = {str(number): GitObject(Kind.BLOB, bytes(900_000)) for number in range(5)}

    recent.keep(
        {**blobs, "tree": GitObject(Kind.TREE, bytes(100)), "large": GitObject(Kind.BLOB, bytes(2_000_000))}
    )
    recent.keep({"4": blobs["4"]})

    assert [len(recent.find(sha).data) for sha in ["3", "4"]] == [900_000] * 2  # type: ignore[union-attr]
    assert 1_800_000 <= recent.memory_bytes <= 1_801_000
    for number in range(10_000):
        recent.keep({f"empty-{number}": GitObject(Kind.BLOB, b"")})
    assert recent.memory_bytes <= 2_000_000
    assert recent.find("3") == GitObject(Kind.BLOB, bytes(SIZE)), (
        "read again: many small ones take memory, too"
    )
    recent.forget()
    assert recent.memory_bytes == 0


# What all of a process keep together


@contextmanager
def with_room_for(kept_bytes: int, store: LocalStore, folder: Path) -> Iterator[list[Writer]]:
    """Agents of one worker that may keep so much of their files in memory."""
    with pytest.MonkeyPatch.context() as patch, writer(store, folder) as one:
        patch.setattr("memrepo_worker.repos.accounts.RECENT_BYTES_MAX", kept_bytes)
        yield [replace(one, agent=Agent("acme", f"agent-{number}")) for number in range(6)]


def begin(one: Writer) -> None:
    """Make a memory of 30 KiB, and have it written."""
    one.ask(create(**{"a.txt": "x" * 30 * KIB}).model_copy(update={"agent_id": one.agent.agent_id}))
    with one.service.cache.hold(one.agent):
        one.warm().save()


def kept(agents: list[Writer]) -> list[int]:
    """Return who keeps files in memory."""
    return [number for number, one in enumerate(agents) if one.warm().recent.memory_bytes]


def test_all_agents_of_a_worker_keep_so_much_together_and_who_was_served_last_keeps_it(
    store: LocalStore, tmp_path: Path
) -> None:
    with with_room_for(100 * KIB, store, tmp_path / "one") as agents:
        for one in agents:
            begin(one)
        assert kept(agents) == [3, 4, 5]

        agents[3].ask(files())
        agents[0].ask(files())

        assert kept(agents) == [0, 3, 5]
        cache = agents[0].service.cache
        assert cache.accounts.memory_bytes == sum(one.warm().memory_bytes for one in agents)
        assert [len(one.texts()["a.txt"]) for one in agents] == [30 * KIB] * 6
        cache.drop(agents[5].agent)
        assert [one.texts()["a.txt"][0] for one in agents[:5]] == ["x"] * 5
        assert kept(agents[:5]) == [2, 3, 4], "what one kept that is gone counts no more"


def test_who_is_being_served_keeps_its_files(store: LocalStore, tmp_path: Path) -> None:
    with with_room_for(KIB, store, tmp_path / "one") as agents:
        begin(agents[0])
        cache = agents[0].service.cache
        with cache.hold(agents[0].agent):
            for one in agents[1:]:
                begin(one)
            assert kept(agents) == [0, 5]
        assert kept(agents) == [0]


# What a memory takes that is warm, and asked for nothing


LARGE = {f"notes-{number // 10}/{number}.md": f"{number} likes tea\n" * 150 for number in range(200)}
EACH_BYTES_MAX = 100 * KIB


def test_a_memory_that_begins_with_much_is_written_at_once_and_still_read_without_its_packs(
    one: Writer, read: list[str]
) -> None:
    one.ask(create(**LARGE))

    assert one.warm().packs.files
    assert one.texts() == LARGE
    assert read == []
    for number in range(20):
        one.ask(commit("learn", {f"notes-0/{number % 10}.md": "changed\n" * 300}))
    assert len(one.warm().packs.files) == 1, "what comes later waits until it is worth a pack"


def test_memories_of_200_files_take_little_each_besides_what_all_keep_together(
    store: LocalStore, tmp_path: Path
) -> None:
    with with_room_for(500 * KIB, store, tmp_path / "one") as agents:
        for one in agents:
            one.ask(create(**LARGE).model_copy(update={"agent_id": one.agent.agent_id}))
            one.ask(commit("learn", {"human.md": "likes tea\n"}))
            assert one.texts() == {**LARGE, "human.md": "likes tea\n"}

        accounts = agents[0].service.cache.accounts
        assert accounts.memory_bytes <= 500 * KIB + len(agents) * EACH_BYTES_MAX
