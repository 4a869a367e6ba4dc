"""The journal on a store that fails in every way a store can: nothing lost, nothing doubled, no error but public ones.

A seed that fails is printed; ``FAULT_SEEDS=SEED`` in the environment runs it again, ``FAULT_SEEDS=0-19999`` is the
long form.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random

import pytest

from memrepo.errors import MemoryRepoError
from memrepo.settings import environment
from memrepo_worker.repos.draft import Draft
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import UnavailableError
from tests.support.faulty_journal import Life, Oracle, live_and_check
from tests.support.faulty_store import Fault, FaultyStore, at_request
from tests.support.writers import Writer, commit, create, delete, writer

SEEDS_IN_CI = "0-299"
CHUNKS = 10


def seeds() -> list[int]:
    text = environment().get("FAULT_SEEDS", SEEDS_IN_CI)
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_seeded_lives_end_with_everything_acknowledged_in_place(chunk: int, tmp_path: Path) -> None:
    injected: Counter[Fault] = Counter()
    for seed in seeds()[chunk::CHUNKS]:
        try:
            injected += live_and_check(tmp_path / str(seed), seed).injected
        except BaseException:
            print(f"\nFAULT_SEEDS={seed}")
            raise
        shutil.rmtree(tmp_path / str(seed))
    print({fault.name: number for fault, number in injected.most_common()})
    assert len(seeds()) < 300 or set(injected) == set(Fault), "some fault never happened"


def do_create(one: Writer) -> None:
    one.ask(create("the-create", first="x"))


def do_commit(one: Writer) -> None:
    one.ask(commit("a commit", request_id="the-commit"))


def do_cold_open(one: Writer) -> None:
    one.messages()


def do_delete(one: Writer) -> None:
    one.ask(delete("the-delete"))


Step = Callable[[Writer], None]

STORIES: dict[str, tuple[list[Step], Step]] = {
    "create": ([], do_create),
    "commit": ([do_create], do_commit),
    "cold open": ([do_create, do_commit], do_cold_open),
    "delete": ([do_create, do_commit], do_delete),
}


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
@pytest.mark.parametrize("story", STORIES)
def test_one_fault_at_each_request_is_survived(story: str, fault: Fault, tmp_path: Path) -> None:
    """Each story is run once per request that it makes, with the fault at that request."""
    before, act = STORIES[story]
    hit = 0
    for number in range(60):
        oracle = Oracle(MemoryStore())
        with ExitStack() as stack:
            clean = stack.enter_context(writer(oracle, tmp_path / f"{number}-clean"))
            for step in before:
                step(clean)
            faulty = FaultyStore(oracle, at_request(number, fault), sleep=lambda _: None)
            one = stack.enter_context(writer(faulty, tmp_path / f"{number}-faulty"))
            until_answered(act, one)
            faulty.land_late_puts()
            if not faulty.injected:
                if number > 12:
                    break
                continue
            hit += 1
            check(story, stack.enter_context(writer(oracle, tmp_path / f"{number}-judge")), oracle)
    assert hit or fault in NOT_POSSIBLE[story], "the fault never happened"


NOT_POSSIBLE: dict[str, set[Fault]] = {
    "create": set(),
    "commit": set(),
    "cold open": {Fault.ANSWER_LOST, Fault.LATE, Fault.CONFLICT},
    "delete": set(),
}


def until_answered(act: Step, one: Writer) -> None:
    """Do as the mailbox does: ask again, with the same request, while the store is unavailable."""
    for _ in range(20):
        with suppress(UnavailableError):
            act(one)
            return
    raise AssertionError("not answered in 20 attempts")


def check(story: str, judge: Writer, oracle: Oracle) -> None:
    ids = [line.request_id for line in oracle.lines()]
    assert len(ids) == len(set(ids)), "a request was settled twice"
    if story == "delete":
        with pytest.raises(MemoryRepoError):
            judge.messages()
        entries = [item for item in oracle.list("acme/agent-1/repo.git/journal/") if item.size]
        assert len(entries) == 1, "only the seal keeps its bytes"
    else:
        expected = ["Initial commit"] if story == "create" else ["Initial commit", "a commit"]
        assert judge.messages() == expected


def test_a_life_without_faults_is_checked_by_the_same_oracle(tmp_path: Path) -> None:
    with ExitStack() as stack:
        life = Life(tmp_path, Random(1), lambda _operation, _key: None, stack)
        life.live(12)
        life.check()
        assert life.oracle.living() or life.oracle.entries


def test_the_oracle_notices_a_journal_that_forgets_what_it_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Draft, "settled", lambda self, request_id: self.lines.get(request_id))

    with pytest.raises(AssertionError):
        _live_many(tmp_path, 20)


def _live_many(folder: Path, number: int) -> None:
    for seed in range(number):
        live_and_check(folder / str(seed), seed)
