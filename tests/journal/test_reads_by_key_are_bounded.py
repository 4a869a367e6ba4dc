"""What is read by its key, without a listing that says its size, takes no more memory than it may."""

from __future__ import annotations

import ast
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

import memrepo_worker
from memrepo.limits import MIB
from memrepo_worker.journal.append import Append, append
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.fence import Publication, publish
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.reading.contents import read_bytes
from memrepo_worker.journal.reading.listed import Listed
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.migration.legacy import LegacyLayoutError, download, read_refs
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.identity import IDENTITY_KEY, read_identity
from memrepo_worker.store.interface import ABSENT, RefusedError
from memrepo_worker.upkeep.parts import Parts
from tests.support.bombs import entry_of_many_paths
from tests.support.interleaving import InlineExecutor

LAYOUT = Layout.of("acme", "agent-1")


def test_a_larger_object_in_an_entrys_place_is_a_rivals() -> None:
    store = MemoryStore()
    store.put(LAYOUT.entry(1), bytes(1000), ABSENT)

    assert append(store, LAYOUT.entry(1), b"an entry") is Append.LOST


def test_an_entry_that_has_grown_since_it_was_listed_is_not_read() -> None:
    store = MemoryStore()
    store.put(LAYOUT.entry(1), bytes(1000), ABSENT)
    reader = JournalReader(store, LAYOUT, InlineExecutor(), entry_bytes_max=999)

    with pytest.raises(JournalDamagedError, match=r"00001\.bundle is listed with 1 bytes, and has 1000"):
        next(reader.parts.fetched([Listed(1, 1)]))

    assert not reader.has_entry(1, sha256(bytes(1000)).hexdigest())


def test_what_is_too_large_to_be_copied_is_in_memory_once() -> None:
    store = MemoryStore()
    entry = entry_of_many_paths(1, 1) + bytes(48 * MIB)
    store.put(LAYOUT.entry(1), entry, ABSENT)

    tracemalloc.start()
    try:
        data = read_bytes(store, LAYOUT.entry(1), 1, len(entry))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert data == entry
    assert peak < 1.5 * len(entry)


def test_a_legacy_head_of_any_size_is_known_without_reading_it() -> None:
    store = MemoryStore()
    store.put(LAYOUT.legacy_head, bytes(1000), ABSENT)

    assert JournalReader(store, LAYOUT, InlineExecutor()).has_legacy_layout()


def test_every_read_by_key_says_how_much_it_takes() -> None:
    unbounded = [
        f"{path.name}:{call.lineno}"
        for path in Path(memrepo_worker.__file__).parent.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and _is_of_a_store(call.func)
        and len(call.args) + len(call.keywords) < 2
    ]

    assert unbounded == []


def _is_of_a_store(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "get"
        and ast.unparse(function.value).removeprefix("self.") in ("store", "_store")
    )


def test_what_is_larger_than_a_reservation_is_content_that_is_there() -> None:
    store = MemoryStore()
    store.put(LAYOUT.base(1), bytes(1000), ABSENT)

    assert publish(store, LAYOUT, LAYOUT.base(1), bytes(200), bytes) is Publication.THERE


def test_an_identity_of_any_size_is_refused_as_damaged() -> None:
    store = MemoryStore()
    store.put(IDENTITY_KEY, bytes(5000), ABSENT)

    with pytest.raises(RefusedError, match="is damaged"):
        read_identity(store)


def test_what_is_folded_is_no_larger_than_an_entry_may_be(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put(LAYOUT.entry(1), bytes(1000), ABSENT)
    parts = Parts(store, LAYOUT, InlineExecutor(), 999, tmp_path)

    with pytest.raises(JournalDamagedError, match="1000 bytes where 999 are read"):
        parts.head(1)
    with pytest.raises(JournalDamagedError, match="1000 bytes where 999 are read"):
        list(parts.between(0, 1))


def test_old_files_that_are_too_large_are_not_taken_over(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put(f"{LAYOUT.prefix}packed-refs", bytes(17 << 20), ABSENT)
    store.put(f"{LAYOUT.prefix}objects/pack/pack-{'0' * 40}.pack", bytes(1000), ABSENT)

    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(LegacyLayoutError, match="a file of refs that is none"):
            read_refs(store, LAYOUT, executor)
        with pytest.raises(LegacyLayoutError, match="1000 bytes, over MEMREPO_FOREIGN_UNPACKED_BYTES_MAX"):
            download(store, LAYOUT, tmp_path, executor, 999)
