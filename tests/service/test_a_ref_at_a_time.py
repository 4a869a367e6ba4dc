"""``branch@{time}``: the newest commit that a branch had then, by its first parents and the commits' own dates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from memrepo import RefNotFoundError
from memrepo.wire import operations
from memrepo.wire.requests.merges import MergeRequest
from memrepo_worker.store.backends.local import LocalStore
from tests.support.stock_git import git, restore
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, files, writer

HOUR_S = 3600


def at(hours: float) -> str:
    return datetime.fromtimestamp(NOW_S + hours * HOUR_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def history(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    """A commit at NOW_S, and one each hour after it."""
    with writer(store, tmp_path / "cache", now_s=NOW_S) as one:
        one.ask(create("request-a", log="0"))
        for hour in (1, 2, 3):
            one.ask(commit(f"{hour}", {"log": str(hour)}, enqueued_at=NOW_S + hour * HOUR_S))
        yield one


def text(one: Writer, ref: str) -> str:
    return one.ask(files(ref))["log"].text


def test_it_is_the_newest_commit_of_that_time_and_steps_may_follow(history: Writer) -> None:
    for hours, expected in ((0, "0"), (0.5, "0"), (1, "1"), (2.99, "2"), (3, "3"), (1000, "3")):
        for name in ("main", "HEAD", "refs/heads/main"):
            assert text(history, f"{name}@{{{at(hours)}}}") == expected
    assert text(history, f"main@{{{at(2)}}}~1") == "1"
    assert text(history, f"main@{{{at(2).replace('Z', '+01:00')}}}") == "1"


def test_a_time_before_the_first_commit_names_that(history: Writer) -> None:
    with pytest.raises(RefNotFoundError, match="is before the first commit of 'main'") as told:
        text(history, f"main@{{{at(-0.01)}}}")
    assert told.value.details["first"] == history.ask(files("main~3")).commit_sha


def test_what_never_moves_was_nowhere_before(history: Writer) -> None:
    history.ask(operations.build(operations.CREATE_TAG.request, **head("request-t"), name="v1"))
    sha = history.ask(files()).commit_sha

    for name in ("v1", sha[:12], "nope"):
        with pytest.raises(RefNotFoundError, match=f"'{name}' is no branch"):
            text(history, f"{name}@{{{at(3)}}}")


def test_it_goes_by_first_parents_as_git_does(store: LocalStore, tmp_path: Path, history: Writer) -> None:
    on_side = commit("side", {"side": "1"}, branch="side", start_point="main~2", enqueued_at=NOW_S + 9000)
    history.ask(on_side)
    merge = {"source": "side", "enqueued_at": NOW_S + 5 * HOUR_S}
    history.ask(operations.build(MergeRequest, **{**head("request-m"), **merge}))

    repo = restore(tmp_path / "store/acme/agent-1/repo.git", tmp_path / "restored.git")
    for hours in (0, 1, 2, 2.6, 3, 4, 5, 6):
        judged = git(
            repo, "rev-list", "--first-parent", "-1", f"--before={int(NOW_S + hours * HOUR_S)}", "main"
        )
        assert history.ask(files(f"main@{{{at(hours)}}}")).commit_sha == judged.decode().strip()


def head(request_id: str) -> dict[str, object]:
    return {
        "org_id": AGENT.org_id,
        "agent_id": AGENT.agent_id,
        "request_id": request_id,
        "enqueued_at": NOW_S,
    }
