"""Every write, seen twice and over deaths: what there is to be seen is as if it had come once and nothing happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from memrepo import FileChange, RepoNotFoundError, append
from memrepo.wire.operations import OPERATIONS, build
from memrepo.wire.requests.base import Request
from memrepo_worker.group import Agent
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.local import LocalStore
from tests.support.hooked_store import HookedStore, answer_lost
from tests.support.writers import AGENT, NOW_S, Writer, writer

THERE, NEW = AGENT.agent_id, "agent-2"


def asked(operation: str, request_id: str, agent_id: str = THERE, **body: Any) -> Request:
    head = {"org_id": AGENT.org_id, "agent_id": agent_id, "request_id": request_id, "enqueued_at": NOW_S}
    made: Request = build(OPERATIONS[operation].request, **head, **body)
    return made


def committed(request_id: str, path: str, text: str, **body: Any) -> Request:
    return asked("commit", request_id, changes=[append(path, text)], message=request_id, **body)


PREPARED = (
    asked("create_repo", "prepare-1", initial_files=[FileChange(path="log", content="0\n")]),
    asked("create_branch", "prepare-2", name="draft"),
    asked("create_tag", "prepare-3", name="v1"),
    committed("prepare-4", "mine", "1\n"),
    committed("prepare-5", "theirs", "1\n", branch="draft"),
)
FIRST_HEAD = "f" * 40
"""Stands for the sha of the first commit, which no table can know."""

WRITES: Mapping[str, Request] = {
    "create_repo": asked(
        "create_repo", "the-write", NEW, initial_files=[FileChange(path="own", content="1\n")]
    ),
    "commit": committed("the-write", "log", "1\n"),
    "commit, rebased": committed(
        "the-write",
        "log",
        "1\n",
        expected_head=FIRST_HEAD,
        on_conflict="rebase",
        author={"name": "A", "email": "a@b.c"},
    ),
    "commit, merged": committed("the-write", "log", "1\n", expected_head=FIRST_HEAD, on_conflict="merge"),
    "commit on a new branch": committed("the-write", "log", "1\n", branch="side"),
    "restore": asked("restore", "the-write", ref="main~1"),
    "merge": asked("merge", "the-write", source="draft"),
    "merge, squashed": asked("merge", "the-write", source="draft", squash=True),
    "merge, moved": asked("merge", "the-write", source="main", target="v2"),
    "fork": asked("fork", "the-write", new_agent_id=NEW),
    "fork without history": asked("fork", "the-write", new_agent_id=NEW, history=False),
    "create_branch": asked("create_branch", "the-write", name="side"),
    "delete_branch": asked("delete_branch", "the-write", name="draft"),
    "delete_branch, where it is": asked("delete_branch", "the-write", name="v2", expected_head=FIRST_HEAD),
    "create_tag": asked("create_tag", "the-write", name="v1", overwrite=True),
    "create_tag, where it is": asked(
        "create_tag", "the-write", name="v1", overwrite=True, expected_head=FIRST_HEAD
    ),
    "delete_tag": asked("delete_tag", "the-write", name="v1"),
    "delete_tag, where it is": asked("delete_tag", "the-write", name="v1", expected_head=FIRST_HEAD),
    "delete_repo": asked("delete_repo", "the-write"),
}


def test_every_write_is_among_them() -> None:
    mutating = {name for name, operation in OPERATIONS.items() if operation.request.MUTATES}

    assert {request.OPERATION for request in WRITES.values()} == mutating


def die() -> None:
    """End as nothing in the service expects."""
    raise ZeroDivisionError


@dataclass
class Seen:
    """What there is to be seen of a write: the outcome, both memories, and how many entries their journals have."""

    outcome: object
    memories: dict[str, object]
    entries: list[int]


def on(one: Writer, request: Request) -> Any:
    return replace(one, agent=Agent(AGENT.org_id, request.agent_id)).ask(request)


def prepare(one: Writer, write: Request) -> Request:
    """Make the memory, and return the write as it is asked there."""
    first, *_ = [on(one, request) for request in PREPARED]
    on(one, asked("create_branch", "prepare-6", name="v2", start_point="main~1"))
    if getattr(write, "expected_head", None) == FIRST_HEAD:
        return write.model_copy(update={"expected_head": first.sha})
    return write


def look(store: LocalStore, folder: Path, outcome: object) -> Seen:
    """Look at all of it, as a worker that has nothing warm."""
    memories: dict[str, object] = {}
    with writer(store, folder) as one:
        for agent_id in (THERE, NEW):
            reads = [
                asked(name, f"read-{name}", agent_id) for name in ("list_branches", "list_tags", "get_files")
            ]
            try:
                memories[agent_id] = [on(one, read) for read in reads]
            except RepoNotFoundError:
                memories[agent_id] = None
    layouts = (Layout.of(AGENT.org_id, agent_id) for agent_id in (THERE, NEW))
    return Seen(outcome, memories, [len(list(store.list(layout.journal))) for layout in layouts])


def undisturbed(folder: Path, write: Request) -> Seen:
    store = LocalStore(folder / "store")
    with writer(store, folder / "cache") as one:
        outcome = on(one, prepare(one, write))
    return look(store, folder / "look", outcome)


def in_one_group(folder: Path, store: HookedStore, write: Request) -> Iterator[Any]:
    with writer(store, folder / "a") as a:
        request = prepare(a, write)
        if request.ENDS_GROUP:
            yield on(a, request)
            yield on(a, request)
            return
        yield from replace(a, agent=Agent(AGENT.org_id, request.agent_id)).group(request, request)


def after_a_death(hook: str) -> Callable[[Path, HookedStore, Request], Iterator[Any]]:
    def play(folder: Path, store: HookedStore, write: Request) -> Iterator[Any]:
        with writer(store, folder / "a") as a:
            request = prepare(a, write)
            setattr(store, hook, die)
            with pytest.raises(ZeroDivisionError):
                on(a, request)
        with writer(store, folder / "b") as b:
            yield on(b, request)
            yield on(b, request)

    return play


def with_a_lost_answer(folder: Path, store: HookedStore, write: Request) -> Iterator[Any]:
    with writer(store, folder / "a") as a:
        request = prepare(a, write)
        store.after_put = answer_lost
        yield on(a, request)


def beside_another_worker(folder: Path, store: HookedStore, write: Request) -> Iterator[Any]:
    """Another worker, that was given the same request, is faster by a moment."""
    with writer(store, folder / "a") as a, writer(store, folder / "b") as b:
        request = prepare(a, write)
        by_other: list[Any] = []
        store.before_put = lambda: by_other.append(on(b, request))
        yield on(a, request)
        yield from by_other


WAYS: Mapping[str, Callable[[Path, HookedStore, Request], Iterator[Any]]] = {
    "twice in one group": in_one_group,
    "died before its entry was there": after_a_death("before_put"),
    "died before it answered": after_a_death("after_put"),
    "answer lost": with_a_lost_answer,
    "taken by two workers": beside_another_worker,
}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seen]:
    """What there is to be seen of each write that nothing disturbs."""
    return cache(lambda name: undisturbed(tmp_path_factory.mktemp("undisturbed"), WRITES[name]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRITES)
def test_it_is_as_if_it_had_come_once(
    tmp_path: Path, expected: Callable[[str], Seen], name: str, way: str
) -> None:
    store = LocalStore(tmp_path / "store")

    outcomes = list(WAYS[way](tmp_path, HookedStore(store), WRITES[name]))

    for outcome in outcomes:
        assert look(store, tmp_path / "look", outcome) == expected(name)


@pytest.mark.parametrize("name", WRITES)
def test_it_is_answered_alike_when_the_memory_has_moved_on(tmp_path: Path, name: str) -> None:
    with writer(LocalStore(tmp_path / "store"), tmp_path / "a") as a:
        request = prepare(a, WRITES[name])
        first = on(a, request)
        for agent_id in (THERE, NEW):
            again = asked(
                "commit",
                f"later-{agent_id}",
                agent_id,
                changes=[append("log", "later\n")],
                message="later",
                create_repo_if_missing=True,
            )
            on(a, again)
        moved_on = look(LocalStore(tmp_path / "store"), tmp_path / "look", None)

        assert getattr(on(a, request), "sha", None) == getattr(first, "sha", None)
        assert look(LocalStore(tmp_path / "store"), tmp_path / "look", None) == moved_on
