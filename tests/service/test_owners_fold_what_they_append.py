"""Whoever owns an agent joins its entries as they come, beside the requests, and reads only what it joins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from typing_extensions import override

from memrepo_worker.git.command import Git, ObjectFolder
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.observe import Counters
from memrepo_worker.repos.pending import FlushLimits
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import (
    ABSENT,
    ALWAYS,
    GET_BYTES_MAX,
    Absent,
    Pin,
    Store,
    StoredObject,
    StoredRange,
    Version,
    When,
)
from memrepo_worker.upkeep.folding import Known
from memrepo_worker.upkeep.lone import require_whole_on
from memrepo_worker.upkeep.part_files import Part
from memrepo_worker.upkeep.recent import RecentEntries
from memrepo_worker.upkeep.runner import UpkeepRunner
from tests.support.folding import folder, small_runs
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, Writer, commit, create, delete, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
TIMEOUT_S = 60


class CountedStore(StoreDecorator):
    """Notes which keys were read, and how many bytes were written to each kind of key of the agent."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.read: list[str] = []
        self.written: dict[str, int] = {}
        self.puts = 0

    @override
    def get(self, key: str, bytes_max: int = GET_BYTES_MAX) -> StoredObject:
        self.read.append(key)
        return self._store.get(key, bytes_max)

    @override
    def get_range(self, key: str, start: int, bytes_max: int, pin: Pin | None = None) -> StoredRange:
        self.read.append(key)
        return self._store.get_range(key, start, bytes_max, pin)

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        if key.startswith(LAYOUT.prefix):
            kind = key.removeprefix(LAYOUT.prefix).partition("/")[0]
            self.written[kind] = self.written.get(kind, 0) + len(data)
            self.puts += 1
        return self._store.put(key, data, when)

    @override
    def put_stream(self, key: str, parts: Iterable[bytes], when: Absent | Version) -> Version:
        data = b"".join(parts)
        kind = key.removeprefix(LAYOUT.prefix).partition("/")[0]
        self.written[kind] = self.written.get(kind, 0) + len(data)
        self.puts += 1
        return self._store.put_stream(key, [data], when)


@pytest.fixture
def store() -> CountedStore:
    return CountedStore(MemoryStore())


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def upkeep(counters: Counters) -> UpkeepRunner:
    return UpkeepRunner(counters)


def grow(one: Writer, first: int, last: int) -> None:
    for number in range(first, last + 1):
        one.ask(
            commit(f"step {number}", {f"file-{number % 20}": f"text {number}\n" * 20, "log": f"{number}"})
        )


def accelerators(store: Store) -> list[str]:
    listed = [*store.list(LAYOUT.bases), *store.list(LAYOUT.segments)]
    keys = [item.key for item in listed if item.size >= CONTENT_BYTES_MIN]
    return [
        f"{key.split('/')[-2]} {'-'.join(str(int(part)) for part in key.split('/')[-1][:-7].split('-'))}"
        for key in keys
    ]


@pytest.fixture
def few_a_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs of a few entries, and a warm repository that has on disk what is older than a run, as one of 64 has."""
    monkeypatch.setattr(WarmRepo.__init__, "__defaults__", (FlushLimits(entries_max=1),))
    with small_runs():
        yield


@pytest.mark.usefixtures("few_a_run")
def test_a_memory_is_folded_as_it_grows_and_is_the_same_opened_anew(
    store: CountedStore, upkeep: UpkeepRunner, counters: Counters, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create(human="likes tea"))
        for number in range(2, 40):
            grow(one, number, number)
            assert upkeep.wait_until_idle(TIMEOUT_S)
        expected = one.messages(), one.texts()

        assert counters.snapshot() == {"upkeep.fold.done": 9}
        assert accelerators(store) == ["base 16", "segment 17-32", "segment 33-36"]
        with writer(store, tmp_path / "two") as two:
            assert (two.messages(), two.texts()) == expected
        assert not list((tmp_path / "one" / "folding").glob("*/"))


@pytest.mark.usefixtures("few_a_run")
def test_folding_reads_one_or_two_entries_of_those_that_it_has_appended(
    store: CountedStore, upkeep: UpkeepRunner, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create())
        grow(one, 2, 9)
        assert upkeep.wait_until_idle(TIMEOUT_S)
        store.read.clear()
        grow(one, 10, 13)
        assert upkeep.wait_until_idle(TIMEOUT_S)

    assert accelerators(store) == ["base 8", "segment 9-12"]
    entries = [key for key in store.read if LAYOUT.entry_seq(key) is not None]
    assert {LAYOUT.entry_seq(key) for key in entries} <= {8, 12, 13}
    assert not [key for key in store.read if LAYOUT.base_seq(key) is not None]


@pytest.mark.usefixtures("few_a_run")
def test_where_the_warm_repository_is_gone_the_memory_is_read_from_the_store(
    store: CountedStore, upkeep: UpkeepRunner, tmp_path: Path
) -> None:
    upkeep.owns = lambda _: False
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create())
        grow(one, 2, 13)
        assert upkeep.wait_until_idle(TIMEOUT_S)
        assert accelerators(store) == []
        one.service.cache.drop(AGENT)
        upkeep.owns = lambda _: True
        one.service.dependencies.opened(AGENT, 1_000)
        assert upkeep.wait_until_idle(TIMEOUT_S)

    assert accelerators(store) == ["base 8", "segment 9-12"]


@pytest.mark.usefixtures("few_a_run")
def test_a_memory_that_was_deleted_stays_deleted(
    store: CountedStore, upkeep: UpkeepRunner, counters: Counters, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create())
        grow(one, 2, 12)
        one.ask(delete())
        one.service.dependencies.opened(AGENT, 1_000)
        assert upkeep.wait_until_idle(TIMEOUT_S)

    assert accelerators(store) == ["base 13"]
    assert "upkeep.fold.failed" not in counters.snapshot()


@pytest.mark.usefixtures("few_a_run")
def test_nothing_is_folded_where_that_is_off(
    store: CountedStore, upkeep: UpkeepRunner, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", upkeep=upkeep, fold=False) as one:
        one.ask(create())
        grow(one, 2, 12)
        assert upkeep.wait_until_idle(TIMEOUT_S)

    assert accelerators(store) == []


class LooseStore(MemoryStore):
    """Replaces an object whatever its version."""

    @override
    def put(self, key: str, data: bytes, when: When) -> Version:
        return super().put(key, data, when if when in (ABSENT, ALWAYS) else ALWAYS)


@pytest.mark.usefixtures("few_a_run")
def test_a_store_without_conditional_replaces_gets_no_folding_and_the_log_says_so_once(
    upkeep: UpkeepRunner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = LooseStore()
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create())
        grow(one, 2, 12)
        assert upkeep.wait_until_idle(TIMEOUT_S)

    assert accelerators(store) == []
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("memories are not folded, so old ones open slowly: ")


@pytest.mark.usefixtures("few_a_run")
def test_a_segment_that_lacks_an_object_is_refused(
    store: CountedStore, upkeep: UpkeepRunner, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create())
        grow(one, 2, 13)
        assert upkeep.wait_until_idle(TIMEOUT_S)
        warm = one.service.cache.path_of(AGENT)
        assert warm is not None
        (tmp_path / "segment").write_bytes(store.get(LAYOUT.segment(9, 12)).data)
        (tmp_path / "entry").write_bytes(store.get(LAYOUT.entry(2)).data)
        part, two = Part.of(12, tmp_path / "segment"), Part.of(2, tmp_path / "entry")
        objects = ObjectFolder(warm / "objects", trusted=False)

        def place(name: str) -> Path:
            path = tmp_path / name
            for folder in ("objects/pack", "objects/info"):
                (path / folder).mkdir(parents=True)
            return path

        require_whole_on(stock_git(), part, place("whole.git"), objects)
        for name, damaged in {
            "prerequisites": replace(part, head=replace(part.head, prerequisites=())),
            "pack": replace(part, pack=two.pack),
            "refs": replace(part, head=replace(part.head, refs={"refs/heads/main": "1" * 40})),
        }.items():
            with pytest.raises(ValueError, match="is needed"):
                require_whole_on(stock_git(), damaged, place(f"{name}.git"), objects)


def test_recent_entries_are_bounded_by_bytes_and_the_oldest_go() -> None:
    recent = RecentEntries(bytes_max=10)
    for seq in range(1, 5):
        recent.keep(AGENT, seq, b"1234")
    recent.keep(AGENT, 4, b"12")

    assert [recent.find(AGENT, seq) for seq in range(1, 6)] == [None, None, b"1234", b"12", None]


def test_a_large_entry_is_not_kept_and_pushes_out_none_of_others() -> None:
    recent = RecentEntries(bytes_max=100, entry_bytes_max=10)
    recent.keep(AGENT, 1, b"small")
    recent.keep(AGENT, 2, bytes(11))
    recent.keep(AGENT, 3, bytes(1000))

    assert [recent.find(AGENT, seq) for seq in range(1, 4)] == [b"small", None, None]


def test_a_damaged_memory_that_is_not_warm_is_read_once(store: CountedStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        grow(one, 2, 12)
    key = LAYOUT.entry(7)
    store.put(key, store.get(key).data[:-40], ALWAYS)
    store.read.clear()

    with small_runs(), pytest.raises(JournalDamagedError, match="entry 7"):
        folder(store, tmp_path / "work").fold(AGENT, known=Known(lambda _: False, lambda _: None))

    assert {number: store.read.count(LAYOUT.entry(number)) for number in (5, 6, 7)} == {5: 1, 6: 1, 7: 1}


@pytest.mark.usefixtures("few_a_run")
def test_what_is_made_may_take_git_as_much_processor_time_as_a_worker_has_to_open_it(
    store: CountedStore, upkeep: UpkeepRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes, index = [], Git.index_sound_pack

    def noted(git: Git, repo: Path, pack: IO[bytes]) -> str:
        takes.append((git.bounds.cpu_s_max if git.bounds else None, git.timeout_s))
        return index(git, repo, pack)

    monkeypatch.setattr(Git, "index_sound_pack", noted)
    with writer(store, tmp_path / "one", upkeep=upkeep) as one:
        one.ask(create())
        grow(one, 2, 6)
        assert upkeep.wait_until_idle(TIMEOUT_S)

    assert takes == [(Git.timeout_s, 1800.0)], "a job behind everything else has longer by the clock alone"
