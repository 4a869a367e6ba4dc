"""What others put beside a journal costs its readers little, however much of it there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import override

from memrepo_worker.journal.accelerators import Accelerators
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.reading.parts import BASES_MAX, SEGMENTS_MAX
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ABSENT, ListedObject
from tests.support.interleaving import InlineExecutor
from tests.support.writers import AGENT, create, history, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)


class CountingStore(MemoryStore):
    """Counts the segments that were listed."""

    segments_listed = 0

    @override
    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        for item in super().list(prefix, start_after):
            self.segments_listed += prefix == LAYOUT.segments
            yield item


def test_a_memory_opens_with_one_page_of_any_number_of_segments(tmp_path: Path) -> None:
    store = CountingStore()
    with writer(store, tmp_path / "first") as first:
        sha = first.ask(create()).sha
    for seq in range(2, 8002):
        store.put(LAYOUT.segment(seq + 1, seq + 1), bytes(200), ABSENT)

    assert JournalReader(store, LAYOUT, InlineExecutor()).open().seq == 1
    assert store.segments_listed <= SEGMENTS_MAX + 1

    store.segments_listed = 0
    with writer(store, tmp_path / "second") as second:
        assert [found.sha for found in second.ask(history())] == [sha]
        assert store.segments_listed <= SEGMENTS_MAX + 1  # through all that a worker has around its store
        assert second.counters.snapshot()["journal.accelerator_passed_over"] == 1


def test_of_any_number_of_bases_the_newest_are_kept() -> None:
    store = MemoryStore()
    for seq in range(1, 3_001):
        store.put(LAYOUT.base(seq), bytes(200), ABSENT)

    there, _ = JournalReader(store, LAYOUT, InlineExecutor()).parts.accelerators()

    assert there.base == 3_000
    assert len(there.bases) == len(there.base_sizes) == BASES_MAX


def test_what_longer_segments_stand_for_is_found_among_very_many() -> None:
    def key(first: int, last: int, size: int = 200) -> ListedObject:
        return ListedObject(LAYOUT.segment(first, last), size)

    kept = [key(10 * number, 10 * number + 9) for number in range(1, 5000)]
    inside = [key(10 * number, 10 * number + 8) for number in range(1, 5000)]
    reservations = [key(21, 25, 32), key(39, 40, 32)]
    listed = [*inside, *kept, *reservations]

    superseded = set(Accelerators.of(LAYOUT, listed).superseded(LAYOUT, listed))

    assert superseded == {item.key for item in [*inside, reservations[0]]}
