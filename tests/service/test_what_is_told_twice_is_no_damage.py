"""A ledger line that comes a second time in the same words is taken for damage only where it is a sign of some."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrepo.errors import RepoNotFoundError, RequestExpiredError
from memrepo_worker.inspection.verifying import Verifier
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.memory import MemoryStore
from tests.support.interleaving import InlineExecutor
from tests.support.stock_git import stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, delete, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
LATER_S = NOW_S + 3 * 24 * 3600.0


@pytest.mark.parametrize("reader", ["cold", "warm"])
def test_a_request_that_is_too_old_may_be_refused_again_once_its_first_refusal_was_forgotten(
    tmp_path: Path, reader: str
) -> None:
    """As where a worker is killed after its entry was created, and its messages are delivered to another."""
    store = MemoryStore()
    old = commit("waited for days")
    with writer(store, tmp_path / "one", LATER_S) as one, writer(store, tmp_path / "two", LATER_S) as two:
        one.ask(create().model_copy(update={"enqueued_at": LATER_S}))
        first, _ = one.group(old, commit("new", enqueued_at=LATER_S))
        with pytest.raises(RequestExpiredError) as again:
            two.ask(old)
        assert again.value.message == first.message

        if reader == "warm":
            one.new_lease()
            assert one.messages()[-1] == "new"
    with writer(store, tmp_path / "three", LATER_S) as three:
        assert three.messages()[-1] == "new"
        with pytest.raises(RequestExpiredError):
            three.ask(old)
    assert store.get(LAYOUT.entry(4)).data == store.get(LAYOUT.entry(3)).data
    with writer(store, tmp_path / "four", LATER_S) as four:
        assert four.messages()[-1] == "new"
    verifier = Verifier(store, stock_git(), InlineExecutor(), lambda: LATER_S, tmp_path / "scratch")
    assert verifier.verify(AGENT).damages == ()


def test_a_base_of_a_delete_that_was_lost_is_written_again_as_it_was(tmp_path: Path) -> None:
    store = MemoryStore()
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        one.ask(delete())
        before = store.get(LAYOUT.base(2)).data
        with pytest.raises(RepoNotFoundError):
            one.ask(delete())
        store.delete([LAYOUT.base(2)])

        one.ask(create(new="life"))

    with writer(store, tmp_path / "two") as two:
        assert two.texts() == {"new": "life"}
    assert store.get(LAYOUT.base(2)).data == before
