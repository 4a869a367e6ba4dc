"""On every backend: what a worker has acknowledged and the store has lost is told as damage, and kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.interface import ALWAYS, Store
from tests.support.writers import AGENT, Writer, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)


def flip(data: bytes) -> bytes:
    return data[:-30] + bytes([data[-30] ^ 0xFF]) + data[-29:]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda _: None,
    "cut": lambda data: data[: len(data) // 2],
    "flipped": flip,
    "another's": lambda _: b"something else",
}


def damage(store: Store, seq: int, how: str) -> bytes:
    """Do to an entry what an accident does; return what it was."""
    key = LAYOUT.entry(seq)
    sound = store.get(key).data
    damaged = DAMAGES[how](sound)
    if damaged is None:
        store.delete([key])
    else:
        store.put(key, damaged, ALWAYS)
    return sound


def begun(one: Writer) -> None:
    one.ask(create(human="likes tea"))
    for number in range(3):
        one.ask(commit(f"step {number}"))


@pytest.mark.parametrize("how", DAMAGES)
def test_no_commit_goes_on_top_of_a_newest_entry_that_is_not_there_as_it_was(
    store: Store, tmp_path: Path, how: str
) -> None:
    with writer(store, tmp_path / "one", journal_check_s=0) as one:
        begun(one)
        sound = damage(store, 4, how)
        request = commit("after all", request_id="the-same-id")

        with pytest.raises(MemoryDamagedError) as caught:
            one.ask(request)

        assert caught.value.details == {"key": LAYOUT.entry(4)}
        assert [item.key for item in store.list(LAYOUT.journal) if item.key > LAYOUT.entry(4)] == []
        store.put(LAYOUT.entry(4), sound, ALWAYS)
        assert one.ask(request).created
        assert one.messages()[1:] == ["step 0", "step 1", "step 2", "after all"]


def test_a_gap_below_the_newest_entry_is_found_with_it(store: Store, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one", journal_check_s=0) as one:
        begun(one)
        one.service.dependencies.__dict__["journal_check_s"] = 1e9
        one.ask(commit("step 3"))
        one.ask(commit("step 4"))
        sound = damage(store, 5, "gone")
        one.service.dependencies.__dict__["journal_check_s"] = 0

        with pytest.raises(MemoryDamagedError) as caught:
            one.ask(commit("after all"))

        assert caught.value.details == {"key": LAYOUT.entry(5)}
        store.put(LAYOUT.entry(5), sound, ALWAYS)
        assert one.ask(commit("after all")).created
