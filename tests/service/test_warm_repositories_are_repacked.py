"""However many commits a memory has, its warm repository has few packs; nobody notices that they are joined."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import pytest

from memrepo_worker.git.command import Git, GitError
from memrepo_worker.git.packed.directory import PackDirectory
from memrepo_worker.group import Agent
from memrepo_worker.repos.repacking import PACKS_MAX, ToJoin, is_due, join, set_apart, to_join
from memrepo_worker.repos.slots import bytes_on_disk
from memrepo_worker.repos.warm import WarmRepo
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.upkeep.repacking import Repacker, repacking
from memrepo_worker.upkeep.runner import JobStoppedError, Stop, UpkeepRunner
from tests.support.stock_git import git, stock_git
from tests.support.writers import AGENT, Writer, commit, create, files, history, writer


class Ended(BaseException):
    """The process ends here."""


class StopAt(Stop):
    """Ends the work at one of its steps."""

    def __init__(self, step: int, error: Callable[[], BaseException]) -> None:
        super().__init__()
        self.left, self.error = step, error

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error()


def grow(one: Writer, commits: int, numbers: count[int]) -> None:
    """Commit, and have each commit written as a pack of its own."""
    for _ in range(commits):
        number = next(numbers)
        one.ask(commit(f"step {number}", {f"file-{number % 7}": f"text {number}\n" * 40}))
        with one.service.cache.hold(AGENT) as held:
            warm = held.find()
            assert warm is not None
            warm.save()


def packs(one: Writer) -> int:
    return len(list(one.warm().path.glob("objects/pack/*.pack")))


def answers(one: Writer) -> object:
    path = history().model_copy(update={"path": "file-3", "request_id": "path-history"})
    if one.service.cache.in_memory(AGENT) is not None:
        one.forget_histories()
    return one.ask(files()), one.ask(history()), one.ask(path)


@pytest.fixture
def grown(one: Writer) -> Writer:
    one.ask(create())
    grow(one, PACKS_MAX + 3, count())
    return one


def test_the_number_of_packs_stays_bounded(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        upkeep = UpkeepRunner(one.counters)
        repacking(one.service.cache, stock_git(), upkeep)
        one.ask(create())
        numbers = count()
        for _ in range(8):
            grow(one, PACKS_MAX // 2, numbers)
            assert upkeep.wait_until_idle(30)
            one.ask(files())
            assert upkeep.wait_until_idle(30)
            assert packs(one) < PACKS_MAX + 2
        assert one.counters.snapshot()["upkeep.repack.done"] >= 3
        assert one.service.cache.accounts.usage.disk_bytes == bytes_on_disk(one.warm().path.parent)
        upkeep.close()


def test_a_join_that_fails_is_tried_again_only_where_there_is_another_pack(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("memrepo_worker.upkeep.repacking.join", _full)
        upkeep = UpkeepRunner(one.counters)
        repacking(one.service.cache, stock_git(), upkeep)
        one.ask(create())
        numbers = count()
        grow(one, PACKS_MAX + 1, numbers)
        assert upkeep.wait_until_idle(30)
        one.ask(files())  # packs may have come while the last job was under way: for those it is asked again
        assert upkeep.wait_until_idle(30)
        failed = one.counters.snapshot()["upkeep.repack.failed"]
        for _ in range(3):
            one.ask(files())
        assert upkeep.wait_until_idle(30)
        assert one.counters.snapshot()["upkeep.repack.failed"] == failed <= 3

    grow(one, 1, numbers)
    assert upkeep.wait_until_idle(30)

    assert packs(one) == 1
    assert one.counters.snapshot()["upkeep.repack.done"] == 1, "one that is done asks for none"
    upkeep.close()


def test_jobs_may_end_while_those_are_forgotten_that_failed(
    grown: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {Agent("acme", f"failed-{number}"): 1 for number in range(3)}
    cache, asked = grown.service.cache, dict(failed)
    repacker = Repacker(cache, stock_git(), _asked=asked)
    find = cache.in_memory

    def in_memory(agent: Agent) -> WarmRepo | None:
        asked.pop(next(iter(failed)), None)  # as a job does that ends in the thread of upkeep
        return find(agent)

    monkeypatch.setattr("memrepo_worker.upkeep.repacking._ASKED_MAX", len(failed))
    monkeypatch.setattr(cache, "in_memory", in_memory)

    repacker.ask(UpkeepRunner(grown.counters, jobs_max=0), AGENT, grown.warm())

    assert asked == {}
    assert grown.counters.snapshot()["upkeep.repack.refused"] == 1


def test_a_memory_that_was_opened_cold_gets_a_commit_graph(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        for number in range(70):
            one.ask(commit(f"step {number}", {f"file-{number % 7}": f"text {number}\n"}))
        before = answers(one)
    with writer(store, tmp_path / "two") as two:
        upkeep = UpkeepRunner(two.counters)
        repacking(two.service.cache, stock_git(), upkeep)
        two.ask(files())
        assert upkeep.wait_until_idle(30)
        assert list(two.warm().path.glob("objects/info/commit-graphs/*.graph"))
        assert answers(two) == before
        assert two.counters.snapshot()["upkeep.repack.done"] == 1, "once, until there is more"
        upkeep.close()


def test_a_memory_that_is_found_on_the_disk_again_has_its_commit_graph(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        for number in range(70):
            one.ask(commit(f"step {number}", {"file": f"text {number}\n"}))
        one.warm().save()
        Repacker(one.service.cache, stock_git()).repack(AGENT, Stop())
        one.service.cache._unload(one.service.cache._name_of(AGENT))
        assert not is_due(one.warm())
    with writer(store, tmp_path / "one") as again:
        assert not is_due(again.warm())

        for number in range(70, 140):
            again.ask(commit(f"step {number}", {"file": f"text {number}\n"}))
        again.warm().save()

        assert is_due(again.warm())


def test_answers_are_the_same_before_meanwhile_and_after(grown: Writer) -> None:
    before = answers(grown)
    meanwhile = []

    class Looking(Stop):
        def git(self, git: object) -> object:  # type: ignore[override]  # looks on, and changes nothing
            meanwhile.append(answers(grown))
            return git

    Repacker(grown.service.cache, stock_git()).repack(AGENT, Looking())

    assert packs(grown) == 1
    assert meanwhile == [before]
    assert answers(grown) == before
    assert grown.counters.snapshot()["repo.opened_cold"] == 1
    assert "repo.healed" not in grown.counters.snapshot()
    git(grown.warm().path, "fsck", "--strict", "--connectivity-only")


def test_what_waits_in_memory_is_written_beside_what_was_joined_and_nothing_else_is_counted(
    grown: Writer,
) -> None:
    class Committing(Stop):
        def git(self, git: Git) -> Git:
            grown.ask(commit("meanwhile", {"meanwhile": "text\n"}))
            return git

    Repacker(grown.service.cache, stock_git()).repack(AGENT, Committing())

    there = {path.stem for path in grown.warm().path.glob("objects/pack/*")}
    assert there == set(grown.warm().packs.files) == set(grown.warm().state.packs)
    assert len(there) == 2
    grow(grown, PACKS_MAX, count(100))
    Repacker(grown.service.cache, stock_git()).repack(AGENT, Stop())
    assert packs(grown) < 4
    answers(grown)
    assert "repo.healed" not in grown.counters.snapshot()


def test_what_is_set_apart_takes_nothing_of_the_disk(grown: Writer) -> None:
    """A commit that is written to disk meanwhile counts it: others would have to make room for it."""
    warm = grown.warm()
    before = bytes_on_disk(warm.path)

    apart = set_apart(warm, to_join(warm.packs.files))

    assert len([*apart.objects.glob("pack/*.pack")]) > PACKS_MAX
    assert bytes_on_disk(warm.path) == before


def test_packs_are_joined_also_where_the_repository_is_gone_meanwhile(grown: Writer) -> None:
    before = answers(grown)

    class Evicting(Stop):
        def git(self, git: Git) -> Git:
            grown.service.cache.make_room()
            return git

    Repacker(grown.service.cache, stock_git()).repack(AGENT, Evicting())

    assert grown.service.cache.accounts.usage.disk_bytes == 0
    assert answers(grown) == before


@pytest.mark.parametrize("step", range(9))
def test_a_process_that_ends_at_any_step_leaves_what_is_right(
    step: int, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        grow(one, PACKS_MAX + 3, count())
        before = answers(one)
        cache = one.service.cache
        # A dead process tidies nothing.
        monkeypatch.setattr(cache, "drop", _nothing)
        monkeypatch.setattr(cache, "_forget", _nothing)
        stop = StopAt(step, Ended)
        try:
            with monkeypatch.context() as patch:
                patch.setattr("memrepo_worker.upkeep.repacking.clear", _nothing)
                patch.setattr("memrepo_worker.repos.repacking.clear", _nothing)
                Repacker(cache, stock_git()).repack(AGENT, stop)
        except Ended:
            assert stop.left < 0
        else:
            assert step == 8, "every step is reached"
        cache._repos.clear()  # nor does it save
    with writer(store, tmp_path / "one") as again:
        assert answers(again) == before
        assert "repo.opened_cold" not in again.counters.snapshot()
        there = {path.stem for path in again.warm().path.glob("objects/pack/*")}
        assert there == set(again.warm().packs.files)
        assert not (again.warm().path / "objects/repack").exists()
        Repacker(again.service.cache, stock_git()).repack(AGENT, Stop())
        assert answers(again) == before


def test_a_job_that_is_stopped_harms_nobody(grown: Writer) -> None:
    before = answers(grown)
    for step in range(8):
        with pytest.raises(JobStoppedError):
            Repacker(grown.service.cache, stock_git()).repack(AGENT, StopAt(step, JobStoppedError))
        assert answers(grown) == before
        # It lags behind the disk between the new pack's index and its own state, and only then is it opened anew.
        assert grown.counters.snapshot().get("cache.dropped", 0) == int(step >= 5)
        if packs(grown) < PACKS_MAX:
            grow(grown, 1, count(3))
            before = answers(grown)
            break


@pytest.mark.parametrize("how", ["stopped", "failed", "let go meanwhile"])
def test_what_comes_to_no_end_leaves_nothing_on_the_disk(grown: Writer, how: str) -> None:
    before, cache = answers(grown), grown.service.cache

    class Interrupting(Stop):
        """Once git has joined the packs."""

        looks = count()

        def check(self) -> None:
            if next(self.looks) == 1:
                assert list(grown.warm().path.glob("objects/repack/joined/pack/*.pack"))
                if how == "let go meanwhile":
                    cache._unload(cache._name_of(AGENT))
                else:
                    raise JobStoppedError if how == "stopped" else GitError("no room")

    with suppress(JobStoppedError, GitError):
        Repacker(cache, stock_git()).repack(AGENT, Interrupting())

    place = cache.path_of(AGENT)
    assert place is not None
    assert not (place / "objects/repack").exists()
    assert cache.accounts.usage.disk_bytes == bytes_on_disk(place.parent)
    assert answers(grown) == before
    assert grown.counters.snapshot()["repo.opened_cold"] == 1


def test_upkeep_that_was_left_behind_takes_nothing_from_who_has_its_place_by_now(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one, ExitStack() as later:
        one.ask(create())
        one.warm().save()
        apart: list[ToJoin] = []

        class LeftBehind(Stop):
            def git(self, git: Git) -> Git:
                one.service.cache.close()
                warm = later.enter_context(writer(store, tmp_path / "one")).warm()
                apart.append(set_apart(warm, tuple(warm.packs.files)))
                raise JobStoppedError

        with suppress(JobStoppedError):
            Repacker(one.service.cache, stock_git()).repack(AGENT, LeftBehind())

        (joining,) = apart
        assert joining.objects.is_relative_to(one.service.cache.folder)
        assert [*joining.objects.glob("pack/*.pack")]


def test_the_request_after_a_join_proves_nothing_anew(grown: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    before = answers(grown)
    looked: list[str] = []
    monkeypatch.setattr(PackDirectory, "_prove_pack", lambda _, name, index: looked.append(name))
    Repacker(grown.service.cache, stock_git()).repack(AGENT, Stop())

    assert packs(grown) < PACKS_MAX
    assert answers(grown) == before
    assert looked == []


@pytest.mark.parametrize("is_as_git_made_it", [True, False])
def test_a_joined_pack_is_proven_where_it_is_what_git_has_made(
    grown: Writer, is_as_git_made_it: bool
) -> None:
    warm = grown.warm()
    apart = set_apart(warm, to_join(warm.packs.files))
    steps = count()

    def spoil() -> None:
        if not is_as_git_made_it and next(steps) == 1:  # once git has made it
            (made,) = apart.objects.parent.glob("joined/pack/*.pack")
            data = bytearray(made.read_bytes())
            data[len(data) // 2] ^= 1
            made.chmod(0o600)
            made.write_bytes(data)

    joined = join(apart, stock_git(), spoil)

    assert joined is not None
    assert joined.is_proven == is_as_git_made_it


def test_a_path_history_is_right_with_a_damaged_commit_graph(grown: Writer) -> None:
    before = answers(grown)
    Repacker(grown.service.cache, stock_git()).repack(AGENT, Stop())
    (graph,) = grown.warm().path.glob("objects/info/commit-graphs/*.graph")
    assert grown.warm().graph.place.trusted
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 4
    graph.chmod(0o600)
    graph.write_bytes(data)

    assert answers(grown) == before
    assert not grown.warm().graph.place.trusted


def test_only_what_is_small_beside_the_rest_is_written_again() -> None:
    sizes = {"old": (10_000, 1), "mid": (900, 1), **{f"new-{number}": (10, 1) for number in range(20)}}
    assert set(to_join(sizes)) == sizes.keys() - {"old", "mid"}
    assert to_join({"old": (10_000, 1), "new": (10, 1)}) == ()


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def _nothing(*_: object) -> None:
    """Do nothing."""
