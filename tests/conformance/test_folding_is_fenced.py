"""On every backend: a folder that is paused in any gap of its publishing brings nothing back below a seal."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from memrepo_worker.journal.fence import Publication, publish
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.store.interface import Store
from memrepo_worker.store.replaces import fault_of_replaces
from tests.journal.test_a_slow_folder_brings_nothing_back import (
    LAYOUT,
    begin_journal,
    content,
    content_below_the_seal,
    deleter_who_begins_anew,
    fresh_bytes,
)
from tests.support.folding import fold, small_runs
from tests.support.interleaving import run
from tests.support.writers import AGENT, commit, create, delete, writer


@pytest.mark.parametrize("key", [LAYOUT.base(2), LAYOUT.segment(1, 2)], ids=["base", "segment"])
@pytest.mark.parametrize("requests_before", range(4))
def test_a_delete_in_each_gap(store: Store, key: str, requests_before: int) -> None:
    begin_journal(store)
    found: list[str] = []

    run(
        store,
        [
            lambda store: publish(store, LAYOUT, key, content("fold"), fresh_bytes()),
            deleter_who_begins_anew,
        ],
        [0] * requests_before + [1] * 40,
        lambda _: found.extend(content_below_the_seal(store) if requests_before < 3 else ()),
    )

    assert found == content_below_the_seal(store) == []


def test_of_two_folders_the_second_finds_it_done(store: Store) -> None:
    begin_journal(store)
    key = LAYOUT.base(2)

    outcomes = [publish(store, LAYOUT, key, content("fold"), fresh_bytes()) for _ in range(2)]

    assert outcomes == [Publication.DONE, Publication.THERE]


def test_a_memory_is_folded_opened_and_deleted(store: Store, tmp_path: Path) -> None:
    layout = Layout.of(AGENT.org_id, AGENT.agent_id)
    with small_runs(), writer(store, tmp_path / "one") as one:
        one.ask(create(human="likes tea"))
        for number in range(20):
            one.ask(commit(f"step {number}"))

        folding = fold(store, tmp_path / "scratch")

        with writer(store, tmp_path / "two") as two:
            assert two.messages() == one.messages()
            assert two.counters.snapshot()["store.get.requests"] == 1 + 1 + 1
        one.ask(delete())
    assert (folding.entries, folding.folded, len(folding.made)) == (21, 20, 2)
    content = [item.key for item in store.list(layout.prefix) if item.size >= CONTENT_BYTES_MIN]
    assert content == [layout.base(22), layout.entry(22)]


def test_every_backend_honours_conditional_replaces(store: Store) -> None:
    assert fault_of_replaces(store, lambda: uuid.uuid4().hex) is None
    assert list(store.list("")) == []
