"""A write that is sent again under its request id is applied once, whichever write it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from memrepo import HeadMovedError, InvalidRequestError, Job, MemoryRepo, MemoryRepos, RepoNotFoundError
from memrepo.wire.operations import OPERATIONS
from tests.support.jobs import done


def shas(repo: MemoryRepo) -> list[str]:
    return [commit.sha for commit in done(repo.get_history())]


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_write_and_no_read_takes_one(name: str) -> None:
    call = getattr(MemoryRepo, name, None) or getattr(MemoryRepos, name)
    takes = "request_id" in inspect.signature(call).parameters

    assert (
        takes == OPERATIONS[name].request.MUTATES or name == "find_request"
    )  # there it is what is asked for


def test_a_memory_is_begun_once(nobody: MemoryRepo) -> None:
    first = done(nobody.create_repo({"a.md": "x"}, request_id="begin-it-once"))

    assert done(nobody.create_repo({"a.md": "x"}, request_id="begin-it-once")) == first
    assert shas(nobody) == [first.sha]


def test_a_memory_is_restored_once(repo: MemoryRepo) -> None:
    done(repo.commit({"human.md": "likes cake\n"}, "cake"))
    restored = done(repo.restore("HEAD~1", request_id="restore-it"))
    done(repo.commit({"human.md": "likes milk\n"}, "milk"))

    assert done(repo.restore("HEAD~1", request_id="restore-it")).sha == restored.sha
    assert done(repo.get_file("human.md")).text == "likes milk\n"


def test_a_branch_is_begun_and_deleted_once(repo: MemoryRepo) -> None:
    begun = done(repo.create_branch("draft", request_id="begin-draft"))
    done(repo.delete_branch("draft", request_id="end-draft"))

    assert done(repo.create_branch("draft", request_id="begin-draft")) == begun
    assert done(repo.delete_branch("draft", request_id="end-draft")) is None
    assert [branch.name for branch in done(repo.list_branches())] == ["main"]


def test_a_memory_is_deleted_once(repo: MemoryRepo) -> None:
    done(repo.delete_repo(request_id="end-it-once"))
    begun = done(repo.create_repo({"a.md": "x"}))

    done(repo.delete_repo(request_id="end-it-once"))

    assert shas(repo) == [begun.sha]


@pytest.mark.parametrize(
    "again",
    [
        lambda repo, id_: repo.create_repo({"b.md": "y"}, request_id=id_),
        lambda repo, id_: repo.restore("HEAD", request_id=id_),
        lambda repo, id_: repo.create_branch("side", request_id=id_),
        lambda repo, id_: repo.delete_branch("side", request_id=id_),
        lambda repo, id_: repo.create_tag("v1", request_id=id_),
        lambda repo, id_: repo.delete_tag("v1", request_id=id_),
        lambda repo, id_: repo.merge("side", request_id=id_),
        lambda repo, id_: repo.delete_repo(request_id=id_),
    ],
)
def test_an_id_that_another_request_has_used_is_refused(
    repo: MemoryRepo, again: Callable[[MemoryRepo, str], Job[Any]]
) -> None:
    done(repo.commit({"a.md": "x"}, "m", request_id="taken-already"))
    before = shas(repo)

    with pytest.raises(
        InvalidRequestError, match="request_id: taken-already was used for another request of this agent"
    ):
        done(again(repo, "taken-already"))
    assert shas(repo) == before


def test_a_refusal_stays_the_answer_to_its_id(repo: MemoryRepo) -> None:
    head = done(repo.get_head_sha())
    done(repo.commit({"a.md": "x"}, "m"))
    for _ in range(2):
        with pytest.raises(HeadMovedError):
            done(repo.commit({"b.md": "x"}, "m", expected_head=head, request_id="too-late"))


def test_who_has_no_memory_any_more_is_told_to_begin_one_and_to_use_a_new_id(repo: MemoryRepo) -> None:
    done(repo.delete_repo())
    for begin in (True, False):
        with pytest.raises(RepoNotFoundError, match="if you gave a request id, give a new one"):
            done(repo.commit({"a.md": "x"}, "m", request_id="the-old-one"))
        if begin:
            done(repo.create_repo())

    assert done(repo.commit({"a.md": "x"}, "m", request_id="a-new-one")).created


def test_who_never_had_a_memory_may_begin_one_and_send_the_same_again(nobody: MemoryRepo) -> None:
    with pytest.raises(RepoNotFoundError) as refused:
        done(nobody.commit({"a.md": "x"}, "m", request_id="the-same"))
    done(nobody.create_repo())

    assert "request id" not in str(refused.value)
    assert done(nobody.commit({"a.md": "x"}, "m", request_id="the-same")).created
