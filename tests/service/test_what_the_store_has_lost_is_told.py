"""What a worker has taken in and the store has lost is damage, never a shorter history; the worker keeps its copy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from memrepo.errors import MemoryDamagedError
from memrepo_worker.group import Agent
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS
from tests.support.hand_clock import HandClock
from tests.support.stock_git import git
from tests.support.writers import AGENT, Writer, commit, create, delete, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
CHECK_S = 300.0


@contextmanager
def begun(store: MemoryStore, cache: Path, time: HandClock | None = None) -> Iterator[Writer]:
    """A worker that has made four entries."""
    with writer(store, cache, monotonic=time or HandClock()) as one:
        one.ask(create(human="likes tea"))
        for number in range(3):
            one.ask(commit(f"step {number}"))
        yield one


def requests(of: Writer) -> dict[str, int]:
    counts = of.counters.snapshot()
    return {kind: counts.get(f"store.{kind}.requests", 0) for kind in ("get", "list", "put")}


def keys(store: MemoryStore) -> list[str]:
    return [item.key for item in store.list(LAYOUT.journal)]


def lose(store: MemoryStore, seq: int) -> bytes:
    data = store.get(LAYOUT.entry(seq)).data
    store.delete([LAYOUT.entry(seq)])
    return data


def cut(store: MemoryStore, seq: int) -> bytes:
    data = store.get(LAYOUT.entry(seq)).data
    store.put(LAYOUT.entry(seq), data[: len(data) // 2], ALWAYS)
    return data


def refused(one: Writer, seq: int) -> None:
    with pytest.raises(MemoryDamagedError) as caught:
        one.ask(commit("refused"))
    assert caught.value.details == {"key": LAYOUT.entry(seq)}


def test_before_a_commit_the_store_was_seen_to_have_the_entries_within_the_time_that_is_set(
    tmp_path: Path,
) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        lost = lose(store, 4)
        time.now_s += CHECK_S
        before = keys(store)

        refused(one, 4)
        refused(one, 4)

        assert keys(store) == before, "no entry is created over the gap"
        store.put(LAYOUT.entry(4), lost, ALWAYS)
        assert one.ask(commit("after all")).created


def test_between_two_looks_a_commit_asks_nothing_and_a_look_is_one_round_of_two_requests(
    tmp_path: Path,
) -> None:
    time = HandClock()
    with begun(MemoryStore(), tmp_path / "one", time) as one:
        before = requests(one)
        for _ in range(3):
            time.now_s += CHECK_S / 4
            one.ask(commit(f"at {time.now_s}"))
        assert requests(one) == before | {"put": before["put"] + 3}

        time.now_s += CHECK_S / 4
        one.ask(commit("the look is due"))

        assert requests(one) == {
            "get": before["get"] + 1,
            "list": before["list"] + 1,
            "put": before["put"] + 4,
        }


def test_a_look_goes_back_to_the_last_one_so_that_no_gap_of_a_busy_agent_is_passed_by(tmp_path: Path) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        lose(store, 3)
        one.ask(commit("over it"))
        time.now_s += CHECK_S

        refused(one, 3)


def test_a_gap_of_many_numbers_is_named_by_its_first(tmp_path: Path) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        for seq in (2, 3, 4):
            lose(store, seq)
        time.now_s += CHECK_S

        refused(one, 2)


def test_reads_go_on_from_what_the_worker_has_while_its_lease_does(tmp_path: Path) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        lose(store, 4)
        time.now_s += CHECK_S
        refused(one, 4)

        assert one.messages()[-1] == "step 2"


@pytest.mark.parametrize("harm", [lose, cut])
def test_a_copy_from_disk_is_read_only_where_the_store_shows_that_it_is_the_memory(
    tmp_path: Path, harm: Callable[[MemoryStore, int], bytes]
) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        whole = harm(store, 4)
        time.now_s += CHECK_S
        refused(one, 4)
        assert one.messages()[-1] == "step 2", "it was proven in this tenure"

    with writer(store, tmp_path / "one") as again, writer(store, tmp_path / "two") as other:
        with pytest.raises(MemoryDamagedError) as caught:
            again.messages()
        if harm is cut:  # of a journal that lost its end another worker sees no fault
            with pytest.raises(MemoryDamagedError, match=LAYOUT.entry(4)):
                other.messages()
        assert caught.value.details == {"key": LAYOUT.entry(4)}
        assert "names a copy that has what was in it" in str(caught.value)

        store.put(LAYOUT.entry(4), whole, ALWAYS)

        assert again.messages()[-1] == "step 2"
        assert again.counters.snapshot().get("repo.opened_cold", 0) == 0, "from the copy that was kept"


@pytest.mark.parametrize("when", ["at a new lease", "after a restart"])
def test_a_shorter_journal_is_not_taken_for_the_memory(tmp_path: Path, when: str) -> None:
    store = MemoryStore()
    with begun(store, tmp_path / "one") as one:
        lose(store, 4)
        if when == "at a new lease":
            one.new_lease()
            refused(one, 4)
            with pytest.raises(MemoryDamagedError):
                one.messages()
    if when == "after a restart":
        with writer(store, tmp_path / "one") as again:
            refused(again, 4)
            with pytest.raises(MemoryDamagedError):
                again.messages()


def test_the_copy_is_kept_whole_and_stock_git_gets_out_of_it_what_was_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one, caplog.at_level(logging.ERROR):
        lose(store, 4)
        time.now_s += CHECK_S

        refused(one, 4)

        copy = one.warm().path
        assert str(copy) in caplog.text
        assert git(copy, "log", "-1", "--format=%s", "main").decode().strip() == "step 2"
        git(copy, "fsck", "--strict")
        assert one.counters.snapshot()["journal.entry_lost"] == 1


def of_an_earlier_entry(store: MemoryStore) -> bytes:
    return store.get(LAYOUT.entry(3)).data


def of_another_memory(_: MemoryStore) -> bytes:
    """The fourth entry of a memory that was made in the same way."""
    other = MemoryStore()
    with TemporaryDirectory() as folder, begun(other, Path(folder)):
        return other.get(LAYOUT.entry(4)).data


@pytest.mark.parametrize("replacement", [of_an_earlier_entry, of_another_memory])
@pytest.mark.parametrize("when", ["at a look", "after a restart"])
def test_a_sound_entry_of_another_place_is_not_taken_for_the_newest(
    tmp_path: Path, replacement: Callable[[MemoryStore], bytes], when: str
) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        lost = lose(store, 4)
        store.put(LAYOUT.entry(4), replacement(store), ALWAYS)
        if when == "at a look":
            time.now_s += CHECK_S
            refused(one, 4)
            assert one.messages()[-1] == "step 2"
        one.warm().save()
        copy = one.warm().path
    with writer(store, tmp_path / "one") as again:
        refused(again, 4)
        assert git(copy, "log", "-1", "--format=%s", "main").decode().strip() == "step 2"

        store.put(LAYOUT.entry(4), lost, ALWAYS)

        assert again.ask(commit("goes on")).created
        assert again.messages()[-2:] == ["step 2", "goes on"]


@pytest.mark.parametrize("others", [0, 1], ids=["nothing follows", "another worker's entry follows"])
@pytest.mark.parametrize("when", ["at a look", "after a restart"])
def test_an_entry_that_was_emptied_is_not_taken_for_what_a_delete_left(
    tmp_path: Path, when: str, others: int
) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one, writer(store, tmp_path / "two") as two:
        for _ in range(others):
            two.ask(commit("elsewhere"))
        lost = lose(store, 4)
        store.put(LAYOUT.entry(4), b"", ALWAYS)
        if when == "at a look":
            time.now_s += CHECK_S
            refused(one, 4)
        one.warm().save()
        copy = one.warm().path
    with writer(store, tmp_path / "one") as again:
        refused(again, 4)
        assert git(copy, "log", "-1", "--format=%s", "main").decode().strip() == "step 2"

        store.put(LAYOUT.entry(4), lost, ALWAYS)

        assert again.ask(commit("goes on")).created


def test_a_worker_that_never_had_what_was_emptied_names_it(tmp_path: Path) -> None:
    store = MemoryStore()
    with begun(store, tmp_path / "one"):
        pass
    for seq in (4, 2):
        store.put(LAYOUT.entry(seq), b"", ALWAYS)
        with writer(store, tmp_path / f"without {seq}") as two:
            refused(two, seq)


@pytest.mark.parametrize("of", [2, 3])
@pytest.mark.parametrize("place", [4, 5])
def test_a_worker_that_never_had_it_takes_no_copy_of_an_earlier_entry_for_the_newest(
    tmp_path: Path, of: int, place: int
) -> None:
    store = MemoryStore()
    with begun(store, tmp_path / "one"):
        pass
    store.put(LAYOUT.entry(place), store.get(LAYOUT.entry(of)).data, ALWAYS)
    with writer(store, tmp_path / "two") as two:
        refused(two, place)


def test_a_worker_that_is_warm_takes_no_copy_of_an_earlier_entry_for_the_next(tmp_path: Path) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        store.put(LAYOUT.entry(5), store.get(LAYOUT.entry(2)).data, ALWAYS)
        time.now_s += CHECK_S
        refused(one, 5)


def test_a_delete_elsewhere_is_no_loss(tmp_path: Path) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one, writer(store, tmp_path / "two") as two:
        two.ask(delete())
        two.ask(create(new="life"))
        time.now_s += CHECK_S

        assert one.ask(commit("on the new one")).created
        assert one.texts() == {"new": "life", "on the new one": "on the new one"}


def test_another_worker_that_went_on_from_the_shorter_journal_decides(tmp_path: Path) -> None:
    """Nothing brings the lost one back by then: a sound entry has its number."""
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one, writer(store, tmp_path / "two") as two:
        lose(store, 4)
        two.ask(commit("in its place"))
        time.now_s += CHECK_S

        assert one.ask(commit("follows")).created
        assert one.messages()[-3:] == ["step 1", "in its place", "follows"]


def test_a_copy_of_another_store_at_the_same_address_claims_nothing(tmp_path: Path) -> None:
    with writer(MemoryStore(), tmp_path / "one", identity="") as one:
        one.ask(create(human="likes tea"))
    other = MemoryStore()
    other.put("_memrepo/identity.json", b'{"format": 1, "store": "another"}', ALWAYS)
    with writer(other, tmp_path / "one", identity="another") as two:
        two.ask(create(human="likes coffee"))
        assert two.texts() == {"human": "likes coffee"}


def test_other_agents_are_served(tmp_path: Path) -> None:
    store, time = MemoryStore(), HandClock()
    with begun(store, tmp_path / "one", time) as one:
        lose(store, 4)
        time.now_s += CHECK_S
        refused(one, 4)
        one.agent = Agent("acme", "another")
        assert one.ask(create().model_copy(update={"agent_id": "another"})).created
