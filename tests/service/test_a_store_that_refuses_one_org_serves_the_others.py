"""A store that says 403 below one org's prefix, or hangs there, is the trouble of that org's agents alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memrepo_worker.group import Agent
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import RefusedError, StoreError, UnavailableError
from tests.support.refusing_store import RefusingStore
from tests.support.writers import Writer, commit, create, writer

OTHER = Agent("other-org", "agent-1")


def elsewhere(request: object) -> object:
    return request.model_copy(update={"org_id": OTHER.org_id, "agent_id": OTHER.agent_id})  # type: ignore[attr-defined]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Writer]:
    store = RefusingStore(MemoryStore(), tmp_path / "says", hangs_s=0.0)
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(human="likes tea"))
        yield one


@pytest.mark.parametrize(("how", "told"), [("refuses", RefusedError), ("hangs", UnavailableError)])
@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
def test_its_requests_wait_and_run_once_it_is_mended(
    one: Writer, tmp_path: Path, how: str, told: type[StoreError], is_warm: bool
) -> None:
    if not is_warm:
        one.service.cache.drop(one.agent)
    (tmp_path / "says").write_text(f"{how} acme/\n")
    waiting = commit("waits", request_id="the-same-id")

    with pytest.raises(told):
        one.group(waiting)
    one.agent = OTHER
    assert one.group(elsewhere(create(a="served")))[0].created  # type: ignore[arg-type]
    assert one.group(elsewhere(commit("served, too")))[0].created  # type: ignore[arg-type]

    (tmp_path / "says").unlink()
    one.agent = Agent("acme", "agent-1")
    assert one.ask(waiting).created
    assert one.messages() == ["Initial commit", "waits"]
