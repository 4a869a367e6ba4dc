"""An owner folds on a store that fails at any of its requests: nothing is lost or wrong, and the next fold ends it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from memrepo_worker.journal.layout import CONTENT_BYTES_MIN, Layout
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ABSENT, Store
from tests.support.faulty_store import Fault, FaultyStore, Operation, Plan, at_request
from tests.support.folding import fold, owner, small_runs
from tests.support.writers import AGENT, commit, create, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
ENTRIES = 21
FOLDED = ["base/16", "segment/17-20"]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    """A memory that was folded when it had 13 entries, and has 21: what it has is joined anew, and removed."""
    folder, store = tmp_path_factory.mktemp("journal"), MemoryStore()
    with small_runs(), writer(store, folder / "one") as one:
        one.ask(create(human="likes tea"))
        for number in range(2, ENTRIES + 1):
            one.ask(commit(f"step {number}", {"log": f"{number}\n" * 20, f"file {number % 3}": f"{number}"}))
            if number == 13:
                fold(store, folder / "scratch")
        yield store


def copied(store: Store) -> MemoryStore:
    copy = MemoryStore()
    for item in store.list(""):
        copy.put(item.key, store.get(item.key, item.size).data, ABSENT)
    return copy


def accelerators(store: Store) -> list[str]:
    return [
        "/".join((kind, "-".join(str(int(number)) for number in rest.split("-"))))
        for item in [*store.list(LAYOUT.bases), *store.list(LAYOUT.segments)]
        if item.size >= CONTENT_BYTES_MIN
        for kind, _, rest in (item.key.removeprefix(LAYOUT.prefix).removesuffix(".bundle").partition("/"),)
    ]


def entries(store: Store) -> dict[str, bytes]:
    return {item.key: store.get(item.key, item.size).data for item in store.list(LAYOUT.journal)}


class Switched:
    """A plan that holds while it is on."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.is_on = plan, False

    def __call__(self, operation: Operation, key: str) -> Fault | None:
        return self.plan(operation, key) if self.is_on else None


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_one_fault_at_each_request_of_a_fold_is_survived(
    fault: Fault, journal: MemoryStore, tmp_path: Path
) -> None:
    expected = None
    hit = 0
    with small_runs():
        for number in count():
            beneath = copied(journal)
            plan = Switched(at_request(number, fault))
            faulty = FaultyStore(beneath, plan, sleep=lambda _: None)
            with owner(faulty, tmp_path / f"owner-{number}") as one:
                expected = expected or (one.writer.messages(), one.writer.texts())
                plan.is_on = True
                one.fold()
                plan.is_on = False
                faulty.land_late_puts()
                injected = bool(faulty.injected)
                with writer(beneath, tmp_path / f"judge-{number}") as judge:
                    assert (judge.messages(), judge.texts()) == expected
                assert one.fold()["upkeep.fold.done"] >= 1, "the trouble of a moment ends nothing for good"
            assert entries(beneath) == entries(journal)
            assert accelerators(beneath) == FOLDED
            assert not [item for item in beneath.list(LAYOUT.prefix) if item.size < CONTENT_BYTES_MIN]
            if not injected and number > 30:
                break
            hit += injected
    assert hit >= 2, "the fault never happened"
