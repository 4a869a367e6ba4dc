"""Whether a memory is there is told by a request or a few, however long its history, and never told wrongly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from memrepo.models import MemoryPage
from memrepo.wire.requests.memories import EVERY_AGENT, ListMemoriesRequest
from memrepo_worker.group import Agent, Group, Lease, Success
from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ABSENT, ALWAYS, RefusedError, UnavailableError
from tests.support.faulty_store import Fault, FaultyStore, Operation
from tests.support.folding import fold
from tests.support.writers import NOW_S, Writer, commit, create, writer

PREFIX = "acme/agent-1/repo.git/"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def one(store: MemoryStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "cache") as one:
        yield one


def asked(one: Writer, **values: Any) -> MemoryPage:
    request = ListMemoriesRequest(
        org_id="acme", agent_id=EVERY_AGENT, request_id="request-1", enqueued_at=NOW_S, **values
    )
    (outcome,) = one.service(Group(Agent("acme", EVERY_AGENT), (request,), Lease("", math.inf)))
    assert isinstance(outcome, Success)
    assert isinstance(outcome.value, MemoryPage)
    return outcome.value


def listed(one: Writer, **values: Any) -> tuple[list[str], int]:
    """Return whose memories are listed, and how many requests that took."""
    before = one.counters.snapshot()
    page = asked(one, **values)
    after = one.counters.snapshot()
    requests = sum(
        after.get(name, 0) - before.get(name, 0) for name in ("store.get.requests", "store.list.requests")
    )
    return [memory.agent_id for memory in page], requests


def of(agent_id: str, one: Writer) -> Writer:
    return replace(one, agent=Agent("acme", agent_id))


def begin(one: Writer, agent_id: str) -> None:
    of(agent_id, one).ask(create(a="x").model_copy(update={"agent_id": agent_id}))


def test_of_a_memory_that_was_never_deleted_one_request_tells_whatever_its_age(one: Writer) -> None:
    one.ask(create(a="x"))
    for number in range(70):
        one.ask(commit(f"step {number}"))

    assert listed(one) == (["agent-1"], 1 + 1)


def test_a_page_asks_one_listing_and_one_request_for_each_memory(one: Writer) -> None:
    for number in range(12):
        begin(one, f"a-{number:02}")

    assert listed(one, limit=5) == ([f"a-{number:02}" for number in range(5)], 1 + 5)
    assert listed(one, limit=5, after="a-09") == (["a-10", "a-11"], 1 + 2)


def test_of_a_deleted_memory_it_takes_a_few(one: Writer, store: MemoryStore, tmp_path: Path) -> None:
    one.ask(create(a="x"))
    one.ask(commit("second"))
    one.delete()

    assert listed(one) == ([], 1 + 4)

    one.ask(create(b="y"))
    assert listed(one) == (["agent-1"], 1 + 5)

    for number in range(64):
        one.ask(commit(f"step {number}"))
    fold(store, tmp_path / "scratch")
    assert listed(one) == (["agent-1"], 1 + 3)

    one.delete()
    assert listed(one) == ([], 1 + 4)


def test_what_is_refused_behind_a_delete_begins_no_memory(one: Writer) -> None:
    one.ask(create(a="x"))
    one.delete()
    for number in range(3):
        one.group(commit(f"refused {number}"))

    assert listed(one) == ([], 1 + 5)


def test_however_much_was_refused_behind_a_delete_the_look_at_it_is_bounded(
    one: Writer, store: MemoryStore
) -> None:
    one.ask(create(a="x"))
    one.delete()
    refused = encode_entry({}, {}, (), ())
    for seq in range(3, 12_000):
        store.put(f"{PREFIX}journal/{seq:020d}.bundle", refused, ABSENT)

    assert listed(one) == ([], 1 + 3 + 2 * 10)


def test_a_delete_that_broke_off_is_a_delete_once_its_first_marker_is_there(
    one: Writer, store: MemoryStore
) -> None:
    one.ask(create(a="x"))
    one.ask(commit("second"))
    second = store.get(f"{PREFIX}journal/{2:020d}.bundle").data
    one.delete()
    store.put(f"{PREFIX}journal/{2:020d}.bundle", second, ALWAYS)  # as if it had come to the first alone

    assert listed(one)[0] == []


@pytest.mark.parametrize("entry", [b"no bundle at all", b"# v3 git bundle\n@object-format=sha1\n\n"])
def test_what_cannot_be_read_is_listed_since_nobody_has_deleted_it(
    entry: bytes, one: Writer, store: MemoryStore
) -> None:
    store.put(f"{PREFIX}journal/{1:020d}.bundle", entry, ABSENT)
    assert listed(one) == (["agent-1"], 1 + 1)


def test_a_journal_without_its_first_entry_is_listed_as_it_is_a_damaged_one(
    one: Writer, store: MemoryStore
) -> None:
    one.ask(create(a="x"))
    one.ask(commit("second"))
    store.delete([f"{PREFIX}journal/{1:020d}.bundle"])

    assert listed(one)[0] == ["agent-1"]


def test_what_others_keep_beside_the_memories_is_none(one: Writer, store: MemoryStore) -> None:
    store.put("acme/legacy/repo.git/HEAD", b"ref: refs/heads/main\n", ABSENT)
    store.put("acme/notes/readme.md", b"x", ABSENT)
    store.put("acme/no id/repo.git/journal/x", b"x", ABSENT)
    store.put("acme/file", b"x", ABSENT)
    begin(one, "zoe")

    assert listed(one)[0] == ["zoe"]
    assert listed(one, limit=1)[0] == []
    assert asked(one, limit=1).next_after == "legacy"


def test_a_header_of_very_many_branches_is_read_whole(one: Writer, store: MemoryStore) -> None:
    prerequisites = [f"{number:040x}" for number in range(200)]
    store.put(
        f"{PREFIX}journal/{1:020d}.bundle",
        encode_entry({}, {"refs/heads/main": "f" * 40}, prerequisites, ()),
        ABSENT,
    )

    assert listed(one) == (["agent-1"], 1 + 2)


def test_what_the_store_does_not_answer_is_told_to_nobody_as_nothing(
    store: MemoryStore, tmp_path: Path
) -> None:
    failing = {Operation.GET: False, Operation.LIST: False}
    faulty = FaultyStore(
        store, lambda operation, _key: Fault.LOST if failing.get(operation) else None, sleep=lambda _: None
    )
    with writer(faulty, tmp_path / "cache") as one:
        one.ask(create(a="x"))
        for operation in failing:
            failing[operation] = True
            with pytest.raises(UnavailableError):
                asked(one)
            failing[operation] = False
        assert listed(one)[0] == ["agent-1"]


def test_an_empty_place_is_told_of_the_store_alone_that_the_worker_began_with(
    store: MemoryStore, tmp_path: Path
) -> None:
    with (
        writer(store, tmp_path / "cache", identity="the-first-store") as one,
        pytest.raises((UnavailableError, RefusedError)),
    ):
        asked(one)
