"""Parts of a journal come side by side, and as many bytes at a time as may, whoever takes in what came before."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryFile
from typing import IO, Any
from weakref import WeakSet

import pytest
from typing_extensions import override

from memrepo.limits import KIB, MIB
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import is_in_file
from memrepo_worker.journal.entry import Entry, JournalDamagedError, decode_entry, encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.reading import found, on_the_way, window
from memrepo_worker.journal.reading.found import FoundJournal
from memrepo_worker.journal.reading.parts import LocalCopyStaleError
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.journal.reading.spool import OpenFile, Spool
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ABSENT, ALWAYS, GET_BYTES_MAX, Pin, StoredObject, StoredRange
from tests.support.interleaving import InlineExecutor
from tests.support.waiting import wait_for

LAYOUT = Layout.of("acme", "agent-1")
THREADS = 8
PATIENCE_S = 20.0


class CountingStore(MemoryStore):
    """Counts what is asked for at a time; ``together`` of what is asked for behind a header wait for each other."""

    def __init__(self, together: int = 1) -> None:
        super().__init__()
        self._together = threading.Barrier(together, timeout=PATIENCE_S)
        self._lock = threading.Lock()
        self._bytes = self.bytes_most = 0
        self.keys: list[str] = []

    @override
    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        with self._counted(key, bytes_max):
            return super().get(key, bytes_max)

    @override
    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        with self._counted(key, bytes_max):
            if start:
                self._together.wait()
            return super().get_range(key, start, bytes_max, pin)

    def _counted(self, key: str, size: int) -> _Counted:
        self.keys.append(key)
        return _Counted(self, size)

    def add(self, size: int) -> None:
        with self._lock:
            self._bytes += size
            self.bytes_most = max(self.bytes_most, self._bytes)


class _Counted:
    def __init__(self, store: CountingStore, size: int) -> None:
        self._store, self._size = store, size

    def __enter__(self) -> None:
        self._store.add(self._size)

    def __exit__(self, *_: object) -> None:
        self._store.add(-self._size)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as pool:
        yield pool


def encoded(seq: int, size: int) -> bytes:
    item = GitObject(Kind.BLOB, Random(seq).randbytes(size))
    return encode_entry({object_id(item): item}, {}, (), ())


def fill(store: MemoryStore, sizes: list[int]) -> list[bytes]:
    """Write entries of about so many bytes; return them."""
    entries = [encoded(seq, size) for seq, size in enumerate(sizes, start=1)]
    for seq, data in enumerate(entries, start=1):
        store.put(LAYOUT.entry(seq), data, ABSENT)
    return entries


def new_file(folder: Path | None = None) -> IO[bytes]:
    return TemporaryFile(dir=folder)


def reader(store: MemoryStore, executor: ThreadPoolExecutor, bytes_max: int) -> JournalReader:
    return JournalReader(store, LAYOUT, executor, bytes_max, open_file=new_file)


def test_the_ranges_of_a_large_object_are_asked_for_side_by_side(executor: ThreadPoolExecutor) -> None:
    store = CountingStore(together=4)
    (data,) = fill(store, [4 * MIB])

    (entry,) = reader(store, executor, 4 * MIB - 1).open().entries

    assert entry.pack == data[-len(entry.pack) :]
    assert is_in_file(entry.pack)
    assert store.bytes_most <= 4 * MIB


def test_all_is_on_its_way_whether_anybody_takes_what_came_before_or_not(
    executor: ThreadPoolExecutor,
) -> None:
    """Nobody takes the first before all are here."""
    store = CountingStore()
    entries = fill(store, [100 * KIB] * 40)
    window = reader(store, executor, 300 * KIB).parts.window()
    asked = iter(window)
    window.add(reader(store, executor, 300 * KIB).parts.listed_from(1))

    first = next(asked)
    rest = [*asked]

    assert [
        entry.pack == data[-len(entry.pack) :] for entry, data in zip([first, *rest], entries, strict=True)
    ]
    assert store.bytes_most <= 300 * KIB
    assert sum(entry.held_bytes for entry in rest) < 400 * KIB


def test_the_others_come_while_a_large_part_is_looked_through(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes, and however few of them may be on their way at a time."""
    store = CountingStore()
    fill(store, [3 * MIB, *[100 * KIB] * 40])

    def look_until_all_is_asked_for(seq: int, data: memoryview, between: Callable[[], object]) -> Entry:
        def is_asked_for() -> bool:
            between()
            return LAYOUT.entry(41) in store.keys

        if seq == 1:
            wait_for(is_asked_for, "the last to be asked for", PATIENCE_S)
        return decode_entry(seq, data)

    monkeypatch.setattr(on_the_way, "decode_entry", look_until_all_is_asked_for)

    assert len(reader(store, executor, 300 * KIB).open().entries) == 41


def test_a_journal_of_many_sizes_comes_as_it_was_written_in_little_memory(
    executor: ThreadPoolExecutor,
) -> None:
    store = CountingStore()
    sizes = [10, 3 * MIB, 100, 900 * KIB, 2 * MIB, 5 * MIB, 70 * MIB, 1, *[20 * KIB] * 300]
    entries = fill(store, sizes)

    tracemalloc.start()
    try:
        found = reader(store, executor, 2 * MIB).open().entries
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert [entry.seq for entry in found] == [*range(1, len(sizes) + 1)]
    for entry, data in zip(found, entries, strict=True):
        assert entry.pack == data[-len(entry.pack) :]
    assert store.bytes_most <= 3 * MIB
    assert peak < 12 * MIB


def test_no_more_than_its_header_is_asked_for_of_what_is_no_entry(executor: ThreadPoolExecutor) -> None:
    store = CountingStore()
    store.put(LAYOUT.entry(1), bytes(8 * MIB), ABSENT)

    with pytest.raises(JournalDamagedError, match="is no bundle"):
        reader(store, executor, MIB).open()

    assert store.bytes_most < MIB


def test_no_more_goes_to_disk_than_may_before_what_came_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "AHEAD_BYTES_MAX", 8 * MIB)
    store = CountingStore()
    fill(store, [MIB - 10 * KIB] * 40)
    parts = JournalReader(store, LAYOUT, InlineExecutor(), 2 * MIB, open_file=new_file).parts

    asked = iter(parts.fetched(parts.listed_from(1)))
    next(asked)

    assert len({*store.keys}) <= 10  # what may be on disk, in memory, and the one that was taken
    assert len([*asked]) == 39


def test_what_was_taken_in_lies_on_disk_no_longer(
    executor: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "AHEAD_BYTES_MAX", 8 * MIB)
    monkeypatch.setattr(found, "ON_DISK_BYTES_MAX", 8 * MIB)
    alive: WeakSet[Spool] = WeakSet()
    begin = Spool.__init__

    def noted(spool: Spool, open_file: OpenFile) -> None:
        begin(spool, open_file)
        alive.add(spool)

    monkeypatch.setattr(Spool, "__init__", noted)
    store = MemoryStore()
    fill(store, [MIB - 10 * KIB] * 60)
    on_disk: list[int] = []

    def take_in(journal: FoundJournal) -> int:
        taken = 0
        for batch in journal.batches():
            taken += len(batch)
            on_disk.append(sum(spool.allotted_bytes for spool in alive))
        return taken

    assert reader(store, executor, 2 * MIB).read(take_in) == 60
    assert len(on_disk) >= 7
    assert (
        max(on_disk) <= 5 * 8 * MIB
    )  # two batches that are let go of one after the other, and what is ahead


class ReplacingStore(MemoryStore):
    """Has an object replaced by a marker once its header was read."""

    @override
    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        found = super().get_range(key, start, bytes_max, pin)
        if not start:
            self.put(key, b"", ALWAYS)
        return found


def test_an_object_that_is_replaced_between_its_ranges_is_not_there_any_more(
    executor: ThreadPoolExecutor,
) -> None:
    store = ReplacingStore()
    fill(store, [4 * MIB])
    parts = reader(store, executor, MIB).parts

    with pytest.raises(LocalCopyStaleError, match="not there any more"):
        list(parts.fetched(parts.listed_from(1)))


class UntoldFuture(Future[Any]):
    """Tells nobody that it is done: who waits for it may go on before others are told."""

    @override
    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        pass


class UntoldExecutor(Executor):
    """Does at once what it is given."""

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = UntoldFuture()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize("open_file", [None, new_file], ids=["in memory", "through a file"])
def test_all_comes_though_what_has_come_is_counted_for_a_moment_longer(
    open_file: Callable[[], IO[bytes]] | None,
) -> None:
    store = MemoryStore()
    fill(store, [100 * KIB, 3 * MIB] * 4)

    found = JournalReader(store, LAYOUT, UntoldExecutor(), 150 * KIB, open_file=open_file).open()

    assert [entry.seq for entry in found.entries] == [*range(1, 9)]


def test_what_is_in_a_file_is_there_as_long_as_somebody_looks_at_it(tmp_path: Path) -> None:
    spool = Spool(partial(new_file, tmp_path))
    first, second = spool.allot(100), spool.allot(200 * MIB)
    spool.write(second + 200 * MIB - 3, b"end")
    spool.write(first, b"a" * 100)

    beginning, end = spool.view(first, 100), spool.view(second + 200 * MIB - 3, 3)
    del spool

    assert bytes(beginning) == b"a" * 100
    assert bytes(end) == b"end"
    assert not [*tmp_path.iterdir()]
