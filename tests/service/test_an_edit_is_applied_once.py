"""An edit reads what its parent has, so that one applied twice would show: whatever happens on the way, it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memrepo import Edit, FileChange, append, move, replace
from memrepo.errors import TooLargeError
from memrepo.wire import operations
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.store.backends.local import LocalStore
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.writers import AGENT, NOW_S, Writer, create, writer


def die() -> None:
    """End as nothing in the service expects."""
    raise ZeroDivisionError


def edit(request_id: str, *edits: Edit | FileChange, **body: Any) -> CommitRequest:
    """A commit of edits."""
    head = {"org_id": AGENT.org_id, "agent_id": AGENT.agent_id, "enqueued_at": NOW_S}
    return operations.build(CommitRequest, **head, request_id=request_id, changes=edits, message="m", **body)


def test_an_edit_that_is_in_its_group_twice_is_applied_once(one: Writer) -> None:
    one.ask(create(log="a\n"))
    first, again, other = one.group(
        *[edit("request-b", append("log", "b\n"))] * 2, edit("request-c", append("log", "c\n"))
    )

    assert first == again
    assert other.parent_sha == first.sha
    assert one.texts() == {"log": "a\nb\nc\n"}


def test_an_edit_of_a_worker_that_died_before_the_answer_is_not_applied_again_by_the_next(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    asked = edit("request-b", append("log", "b\n"), replace("log", "a", "A"), move("log", "days/log"))
    with writer(hooked, tmp_path / "a") as a:
        a.ask(create(log="a\n"))
        hooked.after_put = die
        with pytest.raises(ZeroDivisionError):
            a.ask(asked)

    with writer(store, tmp_path / "b") as b:
        made = b.ask(asked)

        assert b.texts() == {"days/log": "A\nb\n"}
        assert made.request_id == "request-b"
        assert len(b.messages()) == 2


def test_an_edit_whose_answer_was_lost_is_applied_once(store: LocalStore, tmp_path: Path) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "a") as a:
        a.ask(create(log="a\n"))
        hooked.after_put = answer_lost
        a.ask(edit("request-b", append("log", "b\n")))

        assert a.texts() == {"log": "a\nb\n"}


def test_an_edit_that_lost_its_number_is_made_anew_on_what_won(store: LocalStore, tmp_path: Path) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "a") as a, writer(store, tmp_path / "b") as b:
        a.ask(create(log="a\n"))
        hooked.before_put = lambda: b.ask(edit("request-b", append("log", "b\n")))
        a.ask(edit("request-c", append("log", "c\n")))

        assert a.texts() == {"log": "a\nb\nc\n"}
        assert a.counters.snapshot()["journal.lost"] == 1


def test_the_same_edit_on_the_same_parent_is_the_same_commit(tmp_path: Path) -> None:
    shas = []
    for name in ("a", "b"):
        with writer(LocalStore(tmp_path / f"store-{name}"), tmp_path / name) as one:
            one.ask(create("request-a", log="a\n"))
            shas.append(one.ask(edit("request-b", append("log", "b\n"), move("log", "x"))).sha)

    assert shas[0] == shas[1]


def test_one_edit_that_fails_fails_alone_in_its_group(one: Writer) -> None:
    one.ask(create(log="a\n"))
    made, failed, last = one.group(
        edit("request-b", append("log", "b\n")),
        edit("request-c", append("log", "c\n"), replace("log", "nothing", "x")),
        edit("request-d", append("log", "d\n")),
    )

    assert type(failed).__name__ == "ContentMovedError"
    assert last.parent_sha == made.sha
    assert one.texts() == {"log": "a\nb\nd\n"}


def test_edits_that_would_go_through_too_many_bytes_are_refused_with_the_bound_and_counted(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "cache", edited_bytes_max=10_000) as one:
        one.ask(create(log="a" * 4000))
        assert one.ask(edit("request-b", replace("log", "a", "", count=4000))).created
        one.ask(edit("request-c", append("log", "a" * 4000)))
        with pytest.raises(TooLargeError, match="MEMREPO_EDITED_BYTES_MAX") as refused:
            one.ask(
                edit("request-d", replace("log", "aa", "b", count=2000), replace("log", "b", "c", count=2000))
            )

        assert refused.value.details["bound"] == "edited_bytes_max"
        assert refused.value.details["field"] == "changes[1]"
        assert one.counters.snapshot()["bounds.edited_bytes"] == 1
        assert one.texts() == {"log": "a" * 4000}
