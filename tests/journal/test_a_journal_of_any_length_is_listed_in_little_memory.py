"""Listings are taken as they come: of a journal of 30,000 entries a worker keeps their sizes, and not their keys."""

from __future__ import annotations

import secrets
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from memrepo.limits import MIB
from memrepo_worker.journal import seal
from memrepo_worker.journal.entry import JournalDamagedError, encode_entry
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN
from memrepo_worker.journal.reading.listed import Listed
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.journal.seal import clean
from memrepo_worker.store.backends.files import tree
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ABSENT,
    ListedObject,
    UnavailableError,
    Version,
    When,
)
from memrepo_worker.upkeep.folding import Folder
from memrepo_worker.upkeep.parts import Parts
from tests.support.folding import LAYOUT
from tests.support.interleaving import InlineExecutor
from tests.support.stock_git import stock_git
from tests.support.writers import NOW_S

ENTRIES = 30_000


class LongJournal(StoreDecorator):
    """A journal of very many entries, each of 1,000 bytes, that is made up as it is listed; what is put is kept."""

    def __init__(self, entries: int, keys: Callable[[int], str] = LAYOUT.entry, size: int = 1000) -> None:
        super().__init__(MemoryStore())
        self.sizes = [size] * entries  # of numbers that Python has once
        self._keys = keys
        self._numbers = {"journal": range(entries)}
        self.listings = 0
        self.sticks = False

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self.listings += 1
        yield from super().list(prefix, start_after)
        for place, size in enumerate(self.sizes):
            key = self._keys(place + 1)
            if size >= 0 and key.startswith(prefix) and key > start_after:
                yield ListedObject(key, size)

    def put(self, key: str, data: bytes, when: When) -> Version:
        seq = LAYOUT.entry_seq(key)
        if seq is None:
            return super().put(key, data, when)
        self.sizes[seq - 1] = self.sizes[seq - 1] if self.sticks else len(data)
        return Version("1")

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            place = LAYOUT.segment_seqs(key)
            if place is None:
                super().delete([key])
            else:
                self.sizes[place[0] - 1] = -1


def peak_of(act: Callable[[], object]) -> int:
    """Return how many bytes more than before were in memory at the most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_the_entries_to_be_read_are_8_bytes_each() -> None:
    reader = JournalReader(LongJournal(ENTRIES), LAYOUT, InlineExecutor())
    listed: list[Sequence[Listed]] = []

    peak = peak_of(lambda: listed.append(reader.parts.listed_from(1)))

    assert peak < MIB
    assert [(each.seq, each.size) for each in listed[0]] == [(seq, 1000) for seq in range(1, ENTRIES + 1)]


def test_so_they_are_where_a_journal_is_folded(tmp_path: Path) -> None:
    made: list[Parts] = []
    store = LongJournal(ENTRIES)

    peak = peak_of(lambda: made.append(Parts(store, LAYOUT, InlineExecutor(), MIB, tmp_path)))

    assert peak < MIB
    assert made[0].newest == ENTRIES


def test_a_part_of_what_is_listed_is_what_it_was_listed_as() -> None:
    listed = JournalReader(LongJournal(50), LAYOUT, InlineExecutor()).parts.listed_from(11)

    assert [each.seq for each in listed[3:]] == list(range(14, 51))
    assert [each.seq for each in islice(listed, 2)] == [11, 12]
    assert (listed[-1].seq, listed[0].seq, len(listed)) == (50, 11, 40)


def test_a_gap_is_seen_at_once() -> None:
    store = LongJournal(1000)
    store.sizes[499] = -1

    with pytest.raises(JournalDamagedError, match="entry 500 is not there, and 501 is"):
        JournalReader(store, LAYOUT, InlineExecutor()).parts.listed_from(1)


def test_a_delete_keeps_some_keys_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "_KEYS_MAX", 400)
    store = LongJournal(6_000)

    peak = peak_of(lambda: clean(store, LAYOUT, 6_001, (), InlineExecutor()))

    assert peak < MIB // 2
    assert {*store.sizes} == {0}
    assert 15 <= store.listings <= 18


def test_a_delete_of_which_nothing_goes_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "_KEYS_MAX", 100)
    store = LongJournal(1_000)
    store.sticks = True

    with pytest.raises(UnavailableError, match="does not hold still"):
        clean(store, LAYOUT, 1_001, (), InlineExecutor())

    assert store.listings < 20


def test_what_is_beside_a_journal_is_listed_and_removed_some_at_a_time(tmp_path: Path) -> None:
    """Reservations that were left: whoever may write to the bucket can leave any number of them."""
    store = LongJournal(ENTRIES, lambda number: LAYOUT.segment(number, number), CONTENT_BYTES_MIN - 1)
    store.put(LAYOUT.base(ENTRIES + 5), encode_entry({}, {}, (), ()), ABSENT)
    git = stock_git()
    folder = Folder(store, git, InlineExecutor(), lambda: NOW_S, secrets.token_bytes, tmp_path)
    removed: list[int] = []

    peak = peak_of(lambda: removed.append(folder._remove_superseded(LAYOUT)))

    assert removed == [ENTRIES]
    assert peak < MIB


def test_a_folder_is_listed_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path / "store")
    keys = sorted(
        f"a/{name}"
        for number in range(100)
        for name in (f"x{number}", f"x{number}y/in", f"%{number}", "z" * 300 + f"/{number}")
    )
    for key in keys:
        store.put(key, b"1", ABSENT)
    whole = [item.key for item in store.list("a/")]

    for page in (3, 70):
        monkeypatch.setattr(tree, "_PAGE_NODES", page)
        assert [item.key for item in store.list("a/")] == whole
        assert [item.key for item in store.list("a/x", "a/x2")] == [
            key for key in whole if key.startswith("a/x") and key > "a/x2"
        ]
    assert sorted(whole) == keys


def test_a_large_folder_is_listed_in_the_memory_of_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("a/0", b"", ABSENT)
    for number in range(6_000):
        (tmp_path / "store/a" / f"{number:020d}.bundle").touch()
    monkeypatch.setattr(tree, "_PAGE_NODES", 600)
    counted: list[int] = []

    peak = peak_of(lambda: counted.append(sum(1 for _ in store.list("a/"))))

    assert counted == [6_001]
    assert peak < MIB


def test_who_takes_one_page_has_the_folder_read_for_that_page_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalStore(tmp_path / "store")
    for number in range(50):
        store.put(f"a/{number:03d}", b"1", ABSENT)
    monkeypatch.setattr(tree, "_PAGE_NODES", 10)
    read: list[str] = []
    children = tree._children

    def counted(beneath: object, names: tuple[str, ...], key: str, **asked: bool) -> object:
        read.append(key)
        return children(beneath, names, key, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(tree, "_children", counted)

    assert [item.key for item in islice(store.list("a/", "a/020"), 5)] == [
        f"a/{n:03d}" for n in range(21, 26)
    ]
    assert read == ["a/", "a/"]  # twice: see ``tree._page``
