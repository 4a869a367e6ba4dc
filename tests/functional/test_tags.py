"""Tags: names of commits that stay where they are; and what a restore may expect and say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from memrepo import HeadMovedError, InvalidRequestError, Job, MemoryRepo, RefNotFoundError, RepoNotFoundError
from tests.support.jobs import done


def test_a_tag_stays_where_it_is_whatever_becomes_of_its_branch(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())
    tag = done(repo.create_tag("v1"))
    done(repo.commit({"human.md": "likes coffee\n"}, "second"))
    done(repo.create_tag("notes/draft", ref="main"))

    assert (tag.name, tag.ref, tag.sha) == ("v1", "refs/tags/v1", first)
    assert [(each.name, each.sha == first) for each in done(repo.list_tags())] == [
        ("notes/draft", False),
        ("v1", True),
    ]
    for ref in ("v1", "refs/tags/v1", "notes/draft~1"):
        assert done(repo.get_file("human.md", ref=ref)).text == "likes tea\n"
    assert done(repo.get_commit("v1")).sha == first
    assert [branch.name for branch in done(repo.list_branches())] == ["main"]


def test_a_tag_is_not_moved_unless_that_is_said(repo: MemoryRepo) -> None:
    first = done(repo.create_tag("v1")).sha
    second = done(repo.commit({"a": "1"}, "second")).sha

    assert done(repo.create_tag("v1", ref=first)).sha == first
    with pytest.raises(InvalidRequestError, match=f"name: there is a tag of that name already, at {first}"):
        done(repo.create_tag("v1"))
    assert done(repo.create_tag("v1", overwrite=True)).sha == second
    assert done(repo.list_tags())[0].sha == second


def test_a_tag_is_moved_and_deleted_only_from_where_it_is_expected(repo: MemoryRepo) -> None:
    first = done(repo.create_tag("v1")).sha
    second = done(repo.commit({"a": "1"}, "second")).sha

    for refused in (
        repo.create_tag("v1", overwrite=True, expected_head=second),
        repo.delete_tag("v1", expected_head=second),
    ):
        with pytest.raises(HeadMovedError, match=f"tag 'v1' is at {first}, not at {second}") as told:
            done(refused)
        assert told.value.details == {"tag": "v1", "head": first}
    assert [tag.sha for tag in done(repo.list_tags())] == [first]

    assert done(repo.create_tag("v1", overwrite=True, expected_head=first)).sha == second
    done(repo.delete_tag("v1", expected_head=second))
    assert done(repo.list_tags()) == []


def test_a_tag_that_is_not_there_is_not_moved_from_where_it_is_expected(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())

    with pytest.raises(HeadMovedError, match="there is no tag 'v1'") as told:
        done(repo.create_tag("v1", overwrite=True, expected_head=first))
    assert told.value.details == {"tag": "v1", "head": None}
    with pytest.raises(RefNotFoundError, match="there is no tag 'v1'"):
        done(repo.delete_tag("v1", expected_head=first))
    assert done(repo.list_tags()) == []


def test_where_a_tag_is_expected_is_asked_only_of_one_that_may_move(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())

    with pytest.raises(InvalidRequestError, match=r"expected_head: .*overwrite=True"):
        repo.create_tag("v1", expected_head=first)


def test_a_move_and_a_deletion_from_an_expected_place_are_done_once(repo: MemoryRepo) -> None:
    first = done(repo.create_tag("v1")).sha
    second = done(repo.commit({"a": "1"}, "second")).sha
    move: Any = {"overwrite": True, "expected_head": first, "request_id": "move-00001"}
    end: Any = {"expected_head": second, "request_id": "end-000001"}

    moved = done(repo.create_tag("v1", **move))
    assert done(repo.create_tag("v1", **move)) == moved
    done(repo.delete_tag("v1", **end))
    done(repo.create_tag("v1", ref=first))

    assert done(repo.delete_tag("v1", **end)) is None
    assert done(repo.create_tag("v1", **move)) == moved
    assert [tag.sha for tag in done(repo.list_tags())] == [first]
    with pytest.raises(InvalidRequestError, match="request_id"):
        done(repo.delete_tag("v1", request_id="end-000001"))


def test_what_was_refused_as_it_was_elsewhere_is_refused_under_its_id_also_where_it_would_fit_now(
    repo: MemoryRepo,
) -> None:
    first = done(repo.get_head_sha())
    second = done(repo.commit({"a": "1"}, "second", branch="side")).sha
    done(repo.create_tag("v1", ref="side"))
    writes: tuple[Callable[[], Job[None]], ...] = (
        lambda: repo.delete_tag("v1", expected_head=first, request_id="too-soon-1"),
        lambda: repo.delete_branch("side", expected_head=first, request_id="too-soon-2"),
    )
    for write in writes:
        with pytest.raises(HeadMovedError):
            done(write())
    done(repo.create_tag("v1", ref=first, overwrite=True))
    done(repo.delete_branch("side"))
    done(repo.create_branch("side", start_point=first))

    for write in writes:
        with pytest.raises(HeadMovedError) as told:
            done(write())
        assert told.value.details["head"] == second
    assert [one.name for one in done(repo.list_branches())] == ["main", "side"]
    assert [one.name for one in done(repo.list_tags())] == ["v1"]


def test_a_deleted_tag_names_nothing_and_its_commit_stays(repo: MemoryRepo) -> None:
    done(repo.create_branch("side"))
    sha = done(repo.commit({"a": "1"}, "on side", branch="side")).sha
    done(repo.create_tag("v1", ref="side"))
    done(repo.delete_branch("side"))
    done(repo.delete_tag("v1"))

    assert done(repo.list_tags()) == []
    assert done(repo.get_commit(sha)).message == "on side"
    with pytest.raises(RefNotFoundError, match="'v1'"):
        done(repo.get_files("v1"))
    with pytest.raises(RefNotFoundError, match="there is no tag 'v1'"):
        done(repo.delete_tag("v1"))


def test_a_branch_goes_first_where_a_tag_has_its_name(repo: MemoryRepo) -> None:
    first = done(repo.create_tag("side")).sha
    second = done(repo.commit({"a": "1"}, "second")).sha
    done(repo.create_branch("side"))

    assert done(repo.get_commit("side")).sha == second
    assert done(repo.get_commit(done(repo.list_tags())[0].ref)).sha == first


@pytest.mark.parametrize("name", ["v1/deep", "V1"])
def test_a_tag_that_git_could_not_keep_beside_another_is_refused(repo: MemoryRepo, name: str) -> None:
    done(repo.create_tag("v1"))

    with pytest.raises(InvalidRequestError, match="name: "):
        done(repo.create_tag(name))


def test_what_cannot_be_tagged_is_named(repo: MemoryRepo, nobody: MemoryRepo) -> None:
    never = nobody
    with pytest.raises(RefNotFoundError, match="'nope'"):
        done(repo.create_tag("v1", ref="nope"))
    for name in ("HEAD", "a..b", "-x", "a" * 40):
        with pytest.raises(InvalidRequestError, match="name: "):
            repo.create_tag(name)
    assert done(repo.list_tags()) == []
    assert never.agent_id == repo.agent_id


def test_a_memory_that_was_never_created_has_no_tags(nobody: MemoryRepo) -> None:
    for job in (nobody.list_tags(), nobody.create_tag("v1"), nobody.delete_tag("v1")):
        with pytest.raises(RepoNotFoundError):
            done(job)


def test_a_tag_that_was_set_is_not_set_again_under_its_id(repo: MemoryRepo) -> None:
    first = done(repo.create_tag("v1", request_id="tag-00001"))
    done(repo.commit({"a": "1"}, "second"))
    done(repo.create_tag("v1", overwrite=True))

    assert done(repo.create_tag("v1", request_id="tag-00001")) == first
    assert done(repo.list_tags())[0].sha == done(repo.get_head_sha())
    done(repo.delete_tag("v1", request_id="tag-00002"))
    done(repo.create_tag("v1"))
    assert done(repo.delete_tag("v1", request_id="tag-00002")) is None
    assert len(done(repo.list_tags())) == 1


def test_followers_are_told_of_tags(repo: MemoryRepo) -> None:
    sha = done(repo.create_tag("v1", request_id="tag-00001")).sha
    done(repo.delete_tag("v1"))

    *_, begun, ended = done(repo.get_changes())
    assert (begun.ref, begun.old, begun.new, begun.request_ids) == ("refs/tags/v1", None, sha, ["tag-00001"])
    assert (ended.ref, ended.old, ended.new) == ("refs/tags/v1", sha, None)


def test_a_restore_says_what_it_is_told_to_and_only_where_the_branch_is_expected(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())
    second = done(repo.commit({"human.md": "oops"}, "second")).sha

    with pytest.raises(HeadMovedError, match=f"is at {second}, not at {first}"):
        done(repo.restore(first, expected_head=first))
    made = done(repo.restore(first, expected_head=second, message="undo the mistake", request_id="undo-0001"))

    assert (made.message, made.parent_sha) == ("undo the mistake", second)
    assert (
        done(repo.restore(first, expected_head=second, message="undo the mistake", request_id="undo-0001"))
        == made
    )
