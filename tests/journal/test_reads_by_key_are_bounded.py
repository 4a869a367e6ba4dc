"""What is read by its key, without a listing that says its size, takes no more memory than it may."""

from __future__ import annotations

import pytest

from memrepo_worker.journal.append import Append, append
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.reader import JournalReader
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ABSENT
from tests.support.interleaving import InlineExecutor

LAYOUT = Layout.of("acme", "agent-1")


def test_a_larger_object_in_an_entrys_place_is_a_rivals() -> None:
    store = MemoryStore()
    store.put(LAYOUT.entry(1), bytes(1000), ABSENT)

    assert append(store, LAYOUT.entry(1), b"an entry") is Append.LOST


def test_an_entry_that_has_grown_since_it_was_listed_is_damage_that_names_its_key() -> None:
    store = MemoryStore()
    store.put(LAYOUT.entry(1), bytes(1000), ABSENT)
    counted: list[None] = []
    reader = JournalReader(
        store, LAYOUT, InlineExecutor(), entry_bytes_max=999, over_bound=lambda: counted.append(None)
    )

    with pytest.raises(JournalDamagedError, match=r"00001\.bundle has 1000 bytes where 999 are read"):
        reader._entry(1)

    assert counted
    assert not reader.has_entry(1, "0" * 64, lambda data: "0" * 64)


def test_a_legacy_head_of_any_size_is_known_without_reading_it() -> None:
    store = MemoryStore()
    store.put(LAYOUT.legacy_head, bytes(1000), ABSENT)

    assert JournalReader(store, LAYOUT, InlineExecutor()).has_legacy_layout()
