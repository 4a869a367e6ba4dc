"""A commit whose branch has moved on goes onto the present head, where nobody has changed the same."""

from __future__ import annotations

from typing import Any

import pytest

from memrepo import (
    ContentMovedError,
    Edit,
    FileChange,
    HeadMovedError,
    InvalidRequestError,
    MemoryRepo,
    MergeConflictError,
    append,
    move,
)
from tests.support.jobs import done

TEN = "".join(f"{number}\n" for number in range(10))


def contents(repo: MemoryRepo) -> dict[str, str]:
    return {path: file.text for path, file in done(repo.get_files()).items()}


def moved_on(repo: MemoryRepo, **changes: str) -> tuple[str, str]:
    """Return a head, and the one that others made of it meanwhile."""
    before = done(repo.commit({"t": TEN, "notes/a": "a"}, "before"))
    return before.sha, done(repo.commit(changes, "others")).sha


@pytest.mark.parametrize("how", ["rebase", "merge"])
def test_a_commit_goes_onto_the_head_that_others_made_and_says_so(repo: MemoryRepo, how: Any) -> None:
    seen, head = moved_on(repo, other="o")

    made = done(
        repo.commit(
            [append("t", "mine\n"), move("notes", "old")], "mine", expected_head=seen, on_conflict=how
        )
    )
    straight = done(repo.commit({"x": "x"}, "straight", expected_head=made.sha, on_conflict=how))

    assert (made.parent_sha, made.rebased_from, made.created) == (head, seen, True)
    assert (straight.parent_sha, straight.rebased_from) == (made.sha, None)
    assert contents(repo) == {
        "human.md": "likes tea\n",
        "other": "o",
        "t": TEN + "mine\n",
        "old/a": "a",
        "x": "x",
    }


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("t", {"t": "0\n"}),
        ("notes", {"notes/b": "b"}),
        ("new", {"new": "theirs"}),
    ],
)
def test_a_commit_is_not_rebased_over_a_path_that_it_changes_too(
    repo: MemoryRepo, path: str, changes: dict[str, str]
) -> None:
    seen, head = moved_on(repo, **changes)
    mine: list[FileChange | Edit] = [
        FileChange(path="t", content=TEN + "x"),
        FileChange(path="new", content="mine"),
        move("notes", "old"),
    ]

    with pytest.raises(ContentMovedError) as refused:
        done(repo.commit(mine, "mine", expected_head=seen, on_conflict="rebase"))

    assert (refused.value.details["path"], refused.value.details["head"]) == (path, head)
    assert done(repo.get_head_sha()) == head


@pytest.mark.parametrize(
    ("path", "theirs", "mine"),
    [
        ("plans", "plans", "plans/mine"),
        ("plans", "plans/theirs", "plans"),
        ("Plans", "plans", "Plans"),
    ],
)
def test_a_commit_is_not_rebased_beside_a_file_that_is_in_its_way_now(
    repo: MemoryRepo, path: str, theirs: str, mine: str
) -> None:
    seen, head = moved_on(repo, **{theirs: "theirs"})

    with pytest.raises(ContentMovedError, match=f"'{path}'") as refused:
        done(repo.commit({mine: "mine"}, "mine", expected_head=seen, on_conflict="rebase"))
    with pytest.raises(MergeConflictError):
        done(repo.commit({mine: "mine"}, "mine", expected_head=seen, on_conflict="merge"))

    assert (refused.value.details["path"], refused.value.details["head"]) == (path, head)
    assert done(repo.get_head_sha()) == head


def test_what_never_fitted_is_no_conflict_where_it_is_rebased(repo: MemoryRepo) -> None:
    seen, _ = moved_on(repo, other="o")

    with pytest.raises(InvalidRequestError, match=r"'human\.md' is a file"):
        done(repo.commit({"human.md/x": "mine"}, "mine", expected_head=seen, on_conflict="rebase"))


def test_a_commit_is_merged_line_by_line_and_a_conflict_changes_nothing(repo: MemoryRepo) -> None:
    seen, head = moved_on(repo, t="theirs\n" + TEN)

    with pytest.raises(MergeConflictError) as refused:
        done(repo.commit({"t": "mine\n" + TEN}, "mine", expected_head=seen, on_conflict="merge"))
    assert [one["path"] for one in refused.value.details["conflicts"]] == ["t"]
    assert done(repo.get_head_sha()) == head

    made = done(repo.commit({"t": TEN + "mine\n"}, "mine", expected_head=seen, on_conflict="merge"))

    assert (made.parent_sha, made.rebased_from) == (head, seen)
    assert contents(repo)["t"] == "theirs\n" + TEN + "mine\n"


@pytest.mark.parametrize("how", ["rebase", "merge"])
def test_a_head_that_does_not_come_before_the_present_one_is_refused_all_the_same(
    repo: MemoryRepo, how: Any
) -> None:
    side = done(repo.commit({"a": "a"}, "side", branch="side"))
    head = done(repo.commit({"b": "b"}, "main")).sha

    for expected in (side.sha, "f" * 40):
        with pytest.raises(HeadMovedError) as refused:
            done(repo.commit({"c": "c"}, "mine", expected_head=expected, on_conflict=how))
        assert type(refused.value) is HeadMovedError
        assert refused.value.details["head"] == head
    with pytest.raises(InvalidRequestError, match=r"^on_conflict: "):
        repo.commit({"c": "c"}, "mine", on_conflict=how)


def test_a_commit_that_was_rebased_and_is_sent_again_is_answered_alike(repo: MemoryRepo) -> None:
    seen, _ = moved_on(repo, other="o")
    asked: dict[str, Any] = {
        "expected_head": seen,
        "on_conflict": "rebase",
        "request_id": f"rebased-{repo.agent_id}",
    }

    made = done(repo.commit([append("t", "mine\n")], "mine", **asked))
    repo.commit({"t": "later"}, "later")

    assert done(repo.commit([append("t", "mine\n")], "mine", **asked)) == made
    assert contents(repo)["t"] == "later"
