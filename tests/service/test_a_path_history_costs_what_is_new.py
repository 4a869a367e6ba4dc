"""A path's history that was asked before is told without git, as far as it is known and by what was committed since."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from memrepo.errors import MergeConflictError
from memrepo.wire.requests.base import Head
from memrepo.wire.requests.merges import MergeRequest
from memrepo.wire.requests.reads import GetHistoryRequest
from memrepo_worker.git.history.known import KnownHistories
from memrepo_worker.git.reader import Reader
from tests.support.stock_git import git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, history

NAMES = ("a", "b", "folder/c", "folder/d", "folder/inner/e")
PATHS = (*NAMES, "folder", "folder/inner", "nowhere", "a/below")


def of_path(path: str, limit: int = 10, ref: str = "HEAD") -> GetHistoryRequest:
    return history().model_copy(update={"path": path, "limit": limit, "ref": ref})


def told(one: Writer, path: str, limit: int = 10, ref: str = "HEAD") -> list[str]:
    return [item.sha for item in one.ask(of_path(path, limit, ref))]


def by_git(one: Writer, path: str, limit: int, branch: str = "main") -> list[str]:
    """Return what stock git lists, once it sees all."""
    with one.service.cache.hold(AGENT):
        one.warm().save()
    arguments = ["rev-list", f"--max-count={limit}", branch, "--", path]
    return git(one.warm().path, *arguments).decode().split()


def processes(one: Writer) -> int:
    return one.counters.snapshot()["process.started"]


def packs(one: Writer) -> list[Path]:
    return [*one.warm().path.glob("objects/pack/*.pack")]


def test_who_asks_again_after_some_commits_has_no_process_started_and_no_pack_written(one: Writer) -> None:
    one.ask(create(a="first", b="first"))
    one.ask(commit("second", {"a": "second"}))
    assert len(told(one, "a")) == 2
    before, written = processes(one), packs(one)

    made = [one.ask(commit(f"step {number}", {"ab"[number % 2]: f"{number}"})).sha for number in range(9)]

    assert told(one, "a", limit=3) == [made[8], made[6], made[4]]
    assert len(told(one, "a")) == 7
    assert (processes(one), packs(one)) == (before, written)
    assert told(one, "a") == by_git(one, "a", 10)


def test_git_is_asked_where_more_is_wanted_than_it_was_asked_for_or_than_is_known_of(one: Writer) -> None:
    one.ask(create(a="first", b="first"))
    for number in range(6):
        one.ask(commit(f"step {number}", {"a": f"{number}"}))
    for path, limit, is_known in [
        ("a", 3, False),
        ("a", 2, True),
        ("a", 4, False),
        ("a", 7, False),
        ("a", 8, False),  # git was asked for no more than there are
        ("a", 50, True),
        ("b", 3, False),
        ("b", 50, True),
    ]:
        before = processes(one)
        assert told(one, path, limit) == by_git(one, path, limit)
        assert processes(one) - before == (not is_known), (path, limit)


def test_git_is_asked_where_the_commits_since_are_many_or_no_line(one: Writer) -> None:
    one.ask(create(a="first", b="first"))
    assert len(told(one, "a")) == 1
    for number in range(40):
        one.ask(commit(f"step {number}", {"b": f"{number}"}))
    before = processes(one)

    assert len(told(one, "a")) == 1
    assert processes(one) == before + 1

    one.ask(commit("aside", {"a": "theirs"}, branch="side"))
    one.ask(commit("here", {"b": "ours"}))
    before = processes(one)
    assert len(told(one, "a", ref="side")) == 2
    assert processes(one) == before, "the side branch follows on what is known"
    assert len(told(one, "a")) == 1
    assert processes(one) == before + 1, "what is known now is the side's"


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_git_lists_whatever_was_done_and_asked_before(seed: int, one: Writer) -> None:
    random = Random(seed)
    one.ask(create(**dict.fromkeys(("a", "b"), "begin")))
    one.ask(commit("aside", {"b": "side"}, branch="side"))
    without_git = 0
    for step in range(60):
        change(one, random, step)
        for _ in range(random.randrange(3)):
            path, limit, branch = (
                random.choice(PATHS),
                random.choice((1, 2, 5, 50)),
                random.choice(("main", "side")),
            )
            before = processes(one)
            answer = told(one, path, limit, branch)
            without_git += processes(one) == before
            assert answer == by_git(one, path, limit, branch), (seed, step, path, limit, branch)
    assert without_git >= 5


def change(one: Writer, random: Random, step: int) -> None:
    """Write, remove, or merge."""
    branch = "side" if random.random() < 0.3 else "main"
    if random.random() < 0.1:
        head = Head(
            org_id=AGENT.org_id, agent_id=AGENT.agent_id, request_id=f"merge-{step}", enqueued_at=NOW_S
        )
        source = "side" if branch == "main" else "main"
        with suppress(MergeConflictError):
            one.ask(MergeRequest(**head, source=source, target=branch, favor="ours"))
        return
    name = random.choice(NAMES)
    there = one.texts().keys() if branch == "main" else {}
    text = None if name in there and random.random() < 0.3 else f"{step}"
    one.ask(commit(f"step {step}", {name: text}, branch=branch))


def test_what_is_kept_is_bounded_and_counts_as_memory() -> None:
    known = KnownHistories(Reader())
    for number in range(500):
        known.keep("1" * 40, f"path-{number}", 10, ["2" * 40] * 10)
    assert 60_000 < known.memory_bytes <= 64 * 1024
    assert known.find("1" * 40, "path-0", 10) is None
    assert known.find("1" * 40, "path-499", 10) == ["2" * 40] * 10

    known.keep("1" * 40, "path-499", None, ["3" * 40] * 100_000)
    assert known.memory_bytes <= 64 * 1024
    assert known.find("1" * 40, "path-499", None) is None, "not all are kept"
    assert known.find("1" * 40, "path-499", 200) == ["3" * 40] * 200
