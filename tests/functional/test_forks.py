"""Forking: a memory begins with what another has, and from then on they are two."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from memrepo import (
    Author,
    FileChange,
    InvalidRequestError,
    MemoryRepo,
    MemoryRepos,
    RefNotFoundError,
    RepoExistsError,
    RepoNotFoundError,
    append,
)
from tests.support.jobs import done
from tests.support.watches import looks_of_watches


@pytest.fixture
def copy(repos: MemoryRepos, repo: MemoryRepo) -> MemoryRepo:
    """An agent without a memory, to fork into."""
    return repos.repo(org_id=repo.org_id, agent_id=f"{repo.agent_id}-copy")


def test_a_fork_has_the_history_that_leads_to_its_ref_and_no_more(repo: MemoryRepo, copy: MemoryRepo) -> None:
    old = done(repo.commit([FileChange(path="run", content=b"\xff", executable=True)], "old"))
    done(repo.commit({"later": "x"}, "later"))
    done(repo.create_branch("side"))

    made = done(repo.fork(copy.agent_id, ref=old.sha))

    assert made.created
    assert (made.sha, made.branch, made.message) == (old.sha, "main", "old")
    assert [(branch.name, branch.sha) for branch in done(copy.list_branches())] == [("main", old.sha)]
    assert done(copy.get_history()) == done(repo.get_history(ref=old.sha))
    assert done(copy.get_files()) == done(repo.get_files(old.sha))
    assert done(copy.get_file("run")).executable


def test_what_was_committed_before_a_fork_is_in_it_also_what_nobody_has_waited_for(
    repo: MemoryRepo, copy: MemoryRepo
) -> None:
    for number in range(20):
        repo.commit([append("log", f"{number}\n")], "more")
    made = repo.fork(copy.agent_id)
    repo.commit([append("log", "later\n")], "later")

    done(made)
    assert done(copy.get_file("log")).text == "".join(f"{number}\n" for number in range(20))


def test_a_watch_of_a_memory_is_told_when_it_begins_as_a_fork(
    repo: MemoryRepo, copy: MemoryRepo, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = looks_of_watches(monkeypatch)
    watch = copy.watch(after=0)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(next, watch)
        assert looked.wait(60), "it has found nothing, and waits"
        made = done(repo.fork(copy.agent_id))

        assert waiting.result(timeout=60).new == made.sha
    watch.close()


def test_a_fork_without_history_begins_with_the_files_as_one_commit(
    repo: MemoryRepo, copy: MemoryRepo
) -> None:
    done(repo.commit({"notes/a": "1\n", "human.md": None}, "second"))
    ann = Author(name="Ann", email="ann@example.org", type="user", id="7")

    made = done(repo.fork(copy.agent_id, ref="main", history=False, author=ann, request_id="fork-0001"))

    assert made.parent_sha is None
    assert (made.author_name, made.author_id, made.request_id) == ("Ann", "7", "fork-0001")
    assert done(repo.get_head_sha()) in made.message
    assert [commit.sha for commit in done(copy.get_history())] == [made.sha]
    assert {path: file.text for path, file in done(copy.get_files()).items()} == {"notes/a": "1\n"}


def test_forked_memories_have_nothing_in_common_from_then_on(repo: MemoryRepo, copy: MemoryRepo) -> None:
    done(repo.fork(copy.agent_id))
    done(repo.commit({"human.md": "likes coffee\n"}, "ours"))
    done(copy.commit({"human.md": "likes water\n"}, "theirs"))

    assert done(repo.get_file("human.md")).text == "likes coffee\n"
    assert done(copy.get_file("human.md")).text == "likes water\n"
    assert [commit.message for commit in done(copy.get_history())] == ["theirs", "Initial commit"]

    done(repo.delete_repo())

    assert done(copy.get_file("human.md", ref="main~1")).text == "likes tea\n"
    with pytest.raises(RepoNotFoundError):
        done(repo.get_head_sha())


def test_where_a_fork_comes_from_stays_readable_whatever_becomes_of_that(
    repos: MemoryRepos, repo: MemoryRepo, copy: MemoryRepo
) -> None:
    first = done(repo.fork(copy.agent_id))
    done(copy.commit({"x": "1"}, "its own"))
    third = repos.repo(org_id=repo.org_id, agent_id=f"{repo.agent_id}-third")
    second = done(copy.fork(third.agent_id, ref="main~1", history=False))
    done(copy.delete_repo())
    done(repo.delete_repo())
    for number in range(3):
        done(third.commit({"y": str(number)}, "on it goes"))

    assert [(origin.org_id, origin.agent_id, origin.sha) for origin in done(third.get_origins())] == [
        ("acme", copy.agent_id, first.sha),
        ("acme", repo.agent_id, first.sha),
    ]
    assert second.sha != first.sha
    with pytest.raises(RepoNotFoundError):
        done(copy.get_origins())


def test_a_memory_that_began_by_itself_has_no_origin(repo: MemoryRepo) -> None:
    assert done(repo.get_origins()) == []


def test_a_fork_onto_a_memory_is_refused_and_onto_a_deleted_one_is_made(
    repo: MemoryRepo, copy: MemoryRepo
) -> None:
    done(copy.create_repo({"mine": "1"}))

    with pytest.raises(RepoExistsError, match=f"{copy.agent_id} has a memory already"):
        done(repo.fork(copy.agent_id))
    assert set(done(copy.get_files())) == {"mine"}

    done(copy.delete_repo())
    made = done(repo.fork(copy.agent_id))

    assert made.sha == done(repo.get_head_sha())
    assert set(done(copy.get_files())) == {"human.md"}
    assert [origin.agent_id for origin in done(copy.get_origins())] == [repo.agent_id]


def test_what_cannot_be_forked_is_named(
    repos: MemoryRepos, repo: MemoryRepo, copy: MemoryRepo, nobody: MemoryRepo
) -> None:
    never = repos.repo(org_id="acme", agent_id=f"{repo.agent_id}-never")
    with pytest.raises(RepoNotFoundError, match="-never has no memory that could be forked"):
        done(never.fork(copy.agent_id))
    with pytest.raises(RefNotFoundError, match="'nope'"):
        done(repo.fork(copy.agent_id, ref="nope"))
    with pytest.raises(InvalidRequestError, match="new_agent_id: is the memory that is forked"):
        repo.fork(repo.agent_id)
    with pytest.raises(InvalidRequestError, match=r"^agent_id: must be"):
        repo.fork("../x")
    with pytest.raises(InvalidRequestError, match=r"^agent_id: must be str, not NoneType"):
        repo.fork(cast("str", None))

    assert done(repo.fork(copy.agent_id)).created


def test_the_same_fork_under_the_same_id_is_made_once(repo: MemoryRepo, copy: MemoryRepo) -> None:
    first = done(repo.fork(copy.agent_id, request_id="fork-0001"))
    done(repo.commit({"later": "x"}, "later"))
    done(copy.commit({"x": "1"}, "its own"))

    assert done(repo.fork(copy.agent_id, request_id="fork-0001")) == first
    with pytest.raises(InvalidRequestError, match="request_id"):
        done(repo.fork(copy.agent_id, ref="main", request_id="fork-0001"))

    found = done(copy.find_request("fork-0001"))
    assert found is not None
    assert (found.verdict, found.sha) == ("committed", first.sha)
