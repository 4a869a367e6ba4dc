"""Opening a memory cold takes little memory, however much there is of it, and keeps nobody else waiting."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any
from weakref import WeakSet

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo.limits import KIB, MIB
from memrepo.settings import environment
from memrepo_worker.bounds import SharingBounds
from memrepo_worker.git.command import GitError
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packed.taking_in import take_in
from memrepo_worker.group import Agent, Group, Lease
from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.journal.reading.spool import OpenFile, Spool
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.repos.ledger import Ledger
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ABSENT, GET_BYTES_MAX, ListedObject, Store, StoredObject
from memrepo_worker.threads.giving_way import Pace, keeping
from tests.support.folding import fold, small_runs
from tests.support.waiting import wait_for
from tests.support.writers import AGENT, Writer, commit, create, delete, files, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)


def fill(store: Store, one: Writer, entries: int, size: int) -> None:
    """Append entries of that many bytes, as another worker would have."""
    state = one.warm().state
    for seq in range(state.seq + 1, state.seq + 1 + entries):
        item = GitObject(Kind.BLOB, Random(seq).randbytes(size))
        data = encode_entry({object_id(item): item}, state.refs, state.refs.values(), ())
        store.put(LAYOUT.entry(seq), data, ABSENT)


class WatchedStore(LocalStore):
    """Notes which keys are asked for, and answers while ``go`` is set; ``late`` ones while ``go_on`` is, too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.keys: list[str] = []
        self.go = threading.Event()
        self.go.set()
        self.late: Sequence[str] = ()
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        with self._lock:
            self.keys.append(key)
        self.go.wait(20)
        if key in self.late:
            self.go_on.wait(20)
        return super().get(key, bytes_max)


class HangingStore(StoreDecorator):
    """Does not answer what is below a prefix, until ``go`` is set."""

    def __init__(self, store: Store, prefix: str) -> None:
        super().__init__(store)
        self._prefix = prefix
        self.waiting: list[str] = []
        self.go = threading.Event()

    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self._wait(key)
        return super().get(key, bytes_max)

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self._wait(prefix)
        return super().list(prefix, start_after)

    def _wait(self, key: str) -> None:
        if key.startswith(self._prefix):
            self.waiting.append(key)
            self.go.wait(60)


@pytest.fixture
def store(tmp_path: Path) -> WatchedStore:
    return WatchedStore(tmp_path / "store")


@pytest.mark.parametrize("kind", ["entry", "base"])
def test_what_is_listed_as_too_large_is_not_asked_for(tmp_path: Path, kind: str) -> None:
    """A file of 3 GiB without content takes no room where it lies; read, it would take all memory here."""
    store = WatchedStore(tmp_path / "store")
    with writer(store, tmp_path / "one") as one:
        one.ask(create(a="1"))
        one.ask(commit("second"))
        expected = one.messages()
    key = LAYOUT.entry(2) if kind == "entry" else LAYOUT.base(2)
    path = tmp_path / "store" / key
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.truncate(path, 3 * 1024 * MIB)
    store.keys.clear()

    with writer(store, tmp_path / "two") as two:
        if kind == "base":
            assert two.messages() == expected
            assert two.counters.snapshot()["journal.accelerator_passed_over"] == 1
        else:
            with pytest.raises(MemoryDamagedError, match="over MEMREPO_ENTRY_BYTES_MAX") as caught:
                two.messages()
            assert caught.value.details == {"key": key}
        assert two.counters.snapshot()["bounds.entry_bytes"] >= 1
    assert key not in store.keys


def test_a_journal_that_is_larger_than_the_bound_goes_through_a_file_and_is_indexed_once(
    one: Writer, store: WatchedStore, tmp_path: Path
) -> None:
    one.ask(create(first="1"))
    fill(store, one, entries=10, size=100 * KIB)

    with writer(store, tmp_path / "two", cold_open_bytes_max=350 * KIB) as two:
        assert two.texts() == {"first": "1"}
        assert len(list(two.warm().path.rglob("pack-*.pack"))) == 1
        assert two.counters.snapshot()["bounds.cold_open_bytes"] == 1
        assert two.ask(commit("on it")).created
    with writer(store, tmp_path / "three") as three:
        assert three.messages() == ["Initial commit", "on it"]
        assert len(list(three.warm().path.rglob("pack-*.pack"))) == 1


def test_a_warm_copy_takes_much_that_is_new_through_a_file_too(
    one: Writer, store: WatchedStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "two", cold_open_bytes_max=350 * KIB) as two:
        one.ask(create(first="1"))
        assert two.texts() == {"first": "1"}
        packs = len(list(two.warm().path.rglob("pack-*.pack")))
        fill(store, one, entries=10, size=100 * KIB)
        two.new_lease()

        assert two.ask(commit("on it")).created
        assert len(list(two.warm().path.rglob("pack-*.pack"))) == packs + 1
        assert two.counters.snapshot()["bounds.cold_open_bytes"] == 1
        assert two.counters.snapshot()["repo.opened_cold"] == 1


def test_a_warm_copy_that_meets_a_delete_among_much_that_is_new_is_thrown_away(
    one: Writer, store: WatchedStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "two", cold_open_bytes_max=350 * KIB) as two:
        one.ask(create(secret="1"))
        assert two.texts() == {"secret": "1"}
        fill(store, one, entries=6, size=100 * KIB)
        one.new_lease()
        one.ask(delete())
        one.ask(create(first="2"))
        two.new_lease()

        assert two.texts() == {"first": "2"}
        assert two.warm().state == one.warm().state


def test_an_agent_of_few_entries_waits_for_few_of_one_of_many(store: WatchedStore, tmp_path: Path) -> None:
    few = Agent("acme", "agent-2")
    with writer(store, tmp_path / "one") as one:
        one.ask(create(first="1"))
        fill(store, one, entries=200, size=10)
        one.agent = few
        for request in (create(), commit("second"), commit("third")):
            one.ask(request.model_copy(update={"agent_id": few.agent_id}))
    store.keys.clear()
    store.go.clear()
    with writer(store, tmp_path / "two") as two, ThreadPoolExecutor(2) as agents:
        fetchers = two.service.dependencies.fetchers
        asked_of_few = files().model_copy(update={"agent_id": few.agent_id})
        group = Group(few, (asked_of_few,), Lease("lease-1", math.inf))
        many_opened = agents.submit(two.ask, files())
        wait_for(lambda: len(fetchers.waiting) == 1, "many entries wait")
        few_opened = agents.submit(two.service, group)
        wait_for(lambda: len(fetchers.waiting) == 2, "few entries wait, too")
        store.late = [LAYOUT.entry(seq) for seq in range(SharingBounds.fetches_max + 2, 202)]
        store.go.set()
        few_opened.result(10)
        asked_of_many = len(store.keys) - 3
        store.go_on.set()
        many_opened.result(20)

    assert asked_of_many <= 2 * SharingBounds.fetches_max + 1, (
        "those that are under way, and none of what waits"
    )
    assert len(store.keys) == 204


def test_an_agent_is_opened_though_more_hang_at_the_store_than_there_are_threads(
    store: WatchedStore, tmp_path: Path
) -> None:
    hanging = [Agent("acme", f"hanging-{number}") for number in range(SharingBounds.fetches_max + 4)]
    with writer(store, tmp_path / "one") as one:
        one.ask(create(first="1"))
        fill(store, one, entries=3, size=10)
        for one.agent in hanging:
            one.ask(create().model_copy(update={"agent_id": one.agent.agent_id}))
    hung = HangingStore(store, "acme/hanging-")
    with (
        writer(hung, tmp_path / "two", hanging_turns_max=0) as two,
        ThreadPoolExecutor(len(hanging) + 1) as agents,
    ):
        groups = [
            Group(
                agent, (files().model_copy(update={"agent_id": agent.agent_id}),), Lease("lease-1", math.inf)
            )
            for agent in hanging
        ]
        opened = [agents.submit(two.service, group) for group in groups]
        try:
            wait_for(
                lambda: len(hung.waiting) >= SharingBounds.fetches_max + len(hanging), "all of them hang"
            )
            assert agents.submit(two.texts).result(15) == {"first": "1"}
            assert not any(each.done() for each in opened)
        finally:
            hung.go.set()
        for each in opened:
            each.result(20)


PROGRAM = """
import json, re, sys
from pathlib import Path
from memrepo_worker.store.backends.local import LocalStore
from tests.support.folding import fold, small_runs
from tests.support.waiting import wait_for
from tests.support.writers import writer

def peak():
    return int(re.findall(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024

store, cache = LocalStore(Path(sys.argv[1])), Path(sys.argv[2])
with writer(store, cache, cold_open_bytes_max=int(sys.argv[3])) as two:
    before = peak()
    texts = two.texts()
    print(json.dumps([texts, peak() - before]))
"""


def test_a_journal_of_40_mib_is_opened_in_much_less_memory(
    one: Writer, store: WatchedStore, tmp_path: Path
) -> None:
    one.ask(create(first="1"))
    fill(store, one, entries=20, size=2 * MIB)

    texts, taken = opened_by_another_process(tmp_path, bytes_max=4 * MIB)

    assert texts == {"first": "1"}
    assert taken < 24 * MIB


@pytest.mark.parametrize("how", ["cold", "caught up"])
def test_one_that_is_larger_than_the_bound_goes_to_disk_without_being_in_memory(
    one: Writer, store: WatchedStore, tmp_path: Path, how: str
) -> None:
    with writer(store, tmp_path / "two", cold_open_bytes_max=MIB) as two:
        one.ask(create(first="1"))
        if how == "caught up":
            assert two.texts() == {"first": "1"}
            two.new_lease()
        large = Random(1).randbytes(16 * MIB)
        item = GitObject(Kind.BLOB, large)
        refs = one.warm().state.refs
        data = encode_entry({object_id(item): item}, refs, refs.values(), ())
        store.put(LAYOUT.entry(2), data, ABSENT)
        del data, item

        tracemalloc.start()
        try:
            assert two.texts() == {"first": "1"}
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 8 * MIB
        assert two.warm().reader.blob(object_id(GitObject(Kind.BLOB, large))) == large


def test_what_git_has_taken_in_is_in_memory_no_more_when_ledgers_are_read(
    one: Writer, store: WatchedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger may be as large as all that waits: of 100,000 commits it has 7 MiB."""
    one.ask(create(first="1"))
    fill(store, one, entries=7, size=MIB)
    looked: list[None] = []
    following, few = Ledger.following, 4 * MIB

    def traced() -> int:
        return tracemalloc.get_traced_memory()[0]

    def noted(ledger: Ledger, lines: Iterable[LedgerLine]) -> Iterator[LedgerLine]:
        # A thread that has fetched one may have it for a moment still.
        wait_for(lambda: traced() <= few, "what git has taken in is in memory no more: the packs have 7 MiB")
        looked.append(None)
        return following(ledger, lines)

    with writer(store, tmp_path / "two") as two:
        monkeypatch.setattr(Ledger, "following", noted)
        tracemalloc.start()
        try:
            assert two.texts() == {"first": "1"}
        finally:
            tracemalloc.stop()

    assert len(looked) == 8


def test_what_was_read_in_vain_is_gone_from_the_disk_before_the_entries_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    with writer(store, tmp_path / "one") as one, small_runs():
        one.ask(create(human="tea"))
        for number in range(29):
            one.ask(commit(f"{number}", {"log": Random(number).randbytes(700 * KIB).hex()}))
        fold(store, tmp_path / "scratch")
    alive: WeakSet[Spool] = WeakSet()
    before: list[int] = []
    begin = Spool.__init__
    refused: list[None] = []

    def noted(spool: Spool, open_file: OpenFile) -> None:
        before.append(len(alive))
        begin(spool, open_file)
        alive.add(spool)

    def refusing_once(*args: Any) -> Any:
        if refused:
            return take_in(*args)
        refused.append(None)
        raise GitError("fatal: pack has bad object")

    monkeypatch.setattr(Spool, "__init__", noted)
    monkeypatch.setattr("memrepo_worker.repos.warm.take_in", refusing_once)
    with writer(store, tmp_path / "two", cold_open_bytes_max=2 * MIB) as two:
        assert len(two.texts()) == 2
        assert two.counters.snapshot()["journal.accelerator_passed_over"] == 1

    assert before == [0, 0]


def opened_by_another_process(folder: Path, bytes_max: int) -> tuple[dict[str, str], int]:
    """Open it cold in a process of its own; return its texts, and by how much the process grew."""
    arguments = [sys.executable, "-c", PROGRAM, str(folder / "store"), str(folder / "cache"), str(bytes_max)]
    env = {"PATH": environment()["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    texts, taken = json.loads(Processes(Counters()).run(arguments, env=env, timeout_s=100))
    return texts, taken


def test_a_turn_says_before_it_opens_a_memory_cold_that_others_may_work(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
    said: list[str] = []
    pace = Pace(lambda: False)
    pace.on_wait = lambda: said.append("waits")
    with writer(store, tmp_path / "two") as two, keeping(pace):
        two.ask(commit("Learn", {"a.md": "x"}))
        cold = len(said)
        two.ask(commit("Learn", {"a.md": "y"}))
    assert cold >= 1
    assert len(said) == cold, "a warm one need not"
