"""An entry of a newer memrepo may have taken away what an older worker holds: so that one serves nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrepo.errors import WorkerOutdatedError
from memrepo.limits import Limits
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.journal.entry import NewerJournalError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
THIRD = LAYOUT.entry(3)

NEWER: dict[str, Callable[[bytes], bytes]] = {
    "another version": lambda entry: entry.replace(b"# v2", b"# v3", 1),
    "a capability": lambda entry: entry.replace(b"# v2 git bundle\n", b"# v3 git bundle\n@x=y\n", 1),
    "another name": lambda entry: entry.replace(b" refs/memrepo/ledger\n", b" refs/memrepo/later\n", 1),
}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def worker(store: MemoryStore, tmp_path: Path) -> Iterator[Writer]:
    """A worker that holds the memory warm, two entries long."""
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(human="likes tea"))
        one.ask(commit("second"))
        yield one


def append_newer(store: MemoryStore, how: str) -> None:
    store.put(THIRD, NEWER[how](store.get(LAYOUT.entry(2)).data), ALWAYS)


@pytest.mark.parametrize("how", NEWER)
def test_a_warm_worker_stops_serving_what_it_holds_and_writes_nothing(
    store: MemoryStore, worker: Writer, how: str
) -> None:
    append_newer(store, how)
    keys = {item.key for item in store.list("")}

    for ask in (lambda: worker.ask(commit("over it")), worker.messages):
        with pytest.raises(WorkerOutdatedError, match="written by a newer memrepo: upgrade") as caught:
            ask()
        assert caught.value.details == {"key": THIRD}
        assert worker.service.cache.find(AGENT) is None
        assert worker.service.cache.path_of(AGENT) is None

    assert {item.key for item in store.list("")} == keys


@pytest.mark.parametrize("how", NEWER)
def test_a_read_under_a_new_lease_serves_no_old_state(store: MemoryStore, worker: Writer, how: str) -> None:
    append_newer(store, how)
    worker.new_lease()
    with pytest.raises(WorkerOutdatedError):
        worker.messages()


def test_where_a_newer_base_is_understood_the_memory_is_opened_from_that(
    store: MemoryStore, worker: Writer
) -> None:
    append_newer(store, "another version")
    base = store.get(LAYOUT.entry(1)).data  # what the newer one left of it, in the form that all know
    store.put(LAYOUT.base(3), base, ALWAYS)
    worker.new_lease()

    assert worker.messages() == ["Initial commit"]
    worker.ask(commit("on top of it"))
    assert worker.messages() == ["Initial commit", "on top of it"]


def test_a_base_that_is_not_understood_is_said_to_be_newer(store: MemoryStore, worker: Writer) -> None:
    newer = NEWER["another version"](store.get(LAYOUT.entry(2)).data)
    store.put(LAYOUT.base(2), newer, ALWAYS)
    worker.service.cache.drop(AGENT)
    worker.new_lease()
    with pytest.raises(WorkerOutdatedError) as caught:
        worker.messages()
    assert caught.value.details == {"key": LAYOUT.base(2)}


def test_the_commands_for_whole_memories_say_so_too(
    store: MemoryStore, worker: Writer, tmp_path: Path
) -> None:
    append_newer(store, "another name")
    with ThreadPoolExecutor(2) as executor:
        transfer = Transfer(store, stock_git(), executor, lambda: NOW_S, Limits())
        asks: tuple[Callable[[], int], ...] = (
            lambda: transfer.verify(AGENT),
            lambda: transfer.export(AGENT, tmp_path / "out.bundle"),
            lambda: transfer.import_(AGENT, tmp_path / "not looked at.bundle"),
        )
        for ask in asks:
            with pytest.raises(NewerJournalError) as caught:
                ask()
            told = failure_of(caught.value)
            assert type(told) is WorkerOutdatedError
            assert told.message.endswith("a newer memrepo wrote it, upgrade this one")
