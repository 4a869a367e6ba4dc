"""What is no entry by its header is refused before it is read, on every backend and wherever entries are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo.limits import KIB, MIB, Limits
from memrepo.wire.operations import build
from memrepo.wire.requests.feed import GetChangesRequest
from memrepo_worker.inspection.damage import Damage
from memrepo_worker.inspection.damage import Kind as DamageKind
from memrepo_worker.inspection.parts import Listed, read_part
from memrepo_worker.journal.entry import HEAD_BYTES, JournalDamagedError
from memrepo_worker.journal.existence import is_there
from memrepo_worker.journal.reading.reader import JournalReader
from memrepo_worker.migration.adoption import Adopter
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.observe import Counters
from memrepo_worker.store.decorators.metering import MeteredStore
from memrepo_worker.store.interface import ABSENT, Store
from memrepo_worker.upkeep.parts import Parts
from tests.support.bombs import entry_of_many_refs
from tests.support.folding import LAYOUT
from tests.support.interleaving import InlineExecutor
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, files, history, writer

ENTRY = entry_of_many_refs(6 * MIB)
LOOKS = 6
"""So often at most is a journal looked at that is damaged, or seems so: three times, and that once more."""
SMALL = 20 * KIB
"""What else there is to read."""


def read_of(store: Store, read: Callable[[Store], object]) -> int:
    """Return how many bytes of a store this reads."""
    counters = Counters()
    read(MeteredStore(store, counters))
    return counters.snapshot().get("store.get.bytes", 0)


def opened_cold(store: Store, folder: Path) -> None:
    with writer(store, folder) as two, pytest.raises(MemoryDamagedError, match="does not end within"):
        two.ask(files())


def opened_through_a_file(store: Store, folder: Path) -> None:
    with (
        writer(store, folder, cold_open_bytes_max=MIB) as two,
        pytest.raises(MemoryDamagedError, match="does not end within"),
    ):
        two.ask(files())


def changes_asked_for(store: Store, folder: Path) -> None:
    agent = {"org_id": AGENT.org_id, "agent_id": AGENT.agent_id}
    request = build(GetChangesRequest, **agent, request_id="r", enqueued_at=NOW_S, after=0)
    with writer(store, folder) as two, pytest.raises(MemoryDamagedError, match="does not end within"):
        two.ask(request)


def committed_to(store: Store, folder: Path) -> None:
    with writer(store, folder) as two, pytest.raises(MemoryDamagedError, match="does not end within"):
        two.ask(commit("m"))


def verified_by_git(store: Store, _: Path) -> None:
    transfer = Transfer(store, stock_git(), InlineExecutor(), lambda: NOW_S, Limits())
    with pytest.raises(JournalDamagedError, match="does not end within"):
        transfer.verify(AGENT)


def imported_onto(store: Store, folder: Path) -> None:
    transfer = Transfer(store, stock_git(), InlineExecutor(), lambda: NOW_S, Limits())
    with pytest.raises(JournalDamagedError, match="does not end within"):
        transfer.import_(AGENT, folder / "memory.bundle")


def adopted_onto(store: Store, _: Path) -> None:
    adopter = Adopter(store, stock_git(), InlineExecutor(), lambda: NOW_S, Limits())
    with pytest.raises(JournalDamagedError, match="does not end within"):
        adopter.adopt(AGENT)


def inspected(store: Store, _: Path) -> None:
    found = read_part(store, Listed(LAYOUT.entry(1), 1, len(ENTRY)), 1024 * MIB)
    assert isinstance(found, Damage)
    assert found.kind is DamageKind.HEADER


def compared_with_a_copy(store: Store, _: Path) -> None:
    assert not JournalReader(store, LAYOUT, InlineExecutor()).has_entry(1, "0" * 64)


def folded(store: Store, folder: Path) -> None:
    folder.mkdir()
    parts = Parts(store, LAYOUT, InlineExecutor(), 1024 * MIB, folder)
    with pytest.raises(JournalDamagedError, match="does not end within"):
        parts.head(1)
    with pytest.raises(JournalDamagedError, match="does not end within"):
        list(parts.between(0, 1))


def looked_for(store: Store, _: Path) -> None:
    assert is_there(store, LAYOUT)


WAYS: tuple[Callable[[Store, Path], None], ...] = (
    opened_cold,
    opened_through_a_file,
    changes_asked_for,
    committed_to,
    verified_by_git,
    imported_onto,
    adopted_onto,
    inspected,
    compared_with_a_copy,
    folded,
    looked_for,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_first_entry_of_too_many_refs_costs_what_a_header_may_have(
    store: Store, tmp_path: Path, way: Callable[[Store, Path], None]
) -> None:
    store.put(LAYOUT.entry(1), ENTRY, ABSENT)

    assert read_of(store, lambda metered: way(metered, tmp_path / "two")) <= LOOKS * HEAD_BYTES + SMALL


def test_so_does_one_that_comes_after_what_a_worker_has(store: Store, tmp_path: Path) -> None:
    counters = Counters()
    with writer(MeteredStore(store, counters), tmp_path / "one") as one:
        one.ask(create(a="1"))
        store.put(LAYOUT.entry(2), ENTRY, ABSENT)
        one.new_lease()

        with pytest.raises(MemoryDamagedError, match="does not end within"):
            one.ask(history())

    assert counters.snapshot()["store.get.bytes"] <= (1 + LOOKS) * HEAD_BYTES + SMALL


@pytest.mark.parametrize("key", [LAYOUT.base(2), LAYOUT.segment(1, 2)])
def test_so_does_a_base_or_segment_and_the_entries_are_read_instead(
    store: Store, tmp_path: Path, key: str
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create(a="1"))
        one.ask(commit("second"))
        expected = one.messages()
    store.put(key, ENTRY, ABSENT)
    counters = Counters()

    with writer(MeteredStore(store, counters), tmp_path / "two") as two:
        assert two.messages() == expected

    assert counters.snapshot()["store.get.bytes"] <= LOOKS * HEAD_BYTES + SMALL


def test_a_sound_one_of_any_size_is_read_whole_and_once(store: Store, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        for number in range(3):
            one.ask(commit("m", {f"{number}.txt": "".join(map(str, range(600_000)))}))
        expected = one.texts()
    size = sum(item.size for item in store.list(LAYOUT.journal))
    counters = Counters()

    with writer(MeteredStore(store, counters), tmp_path / "two") as two:
        assert two.texts() == expected

    assert size > 3 * MIB
    assert counters.snapshot()["store.get.bytes"] <= size + SMALL
