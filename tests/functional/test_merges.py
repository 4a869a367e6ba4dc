"""Branches are brought together as stock git would; what nobody can decide changes nothing and is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from memrepo import (
    Author,
    FileChange,
    HeadMovedError,
    InvalidRequestError,
    MemoryRepo,
    MemoryRepoError,
    MergeConflictError,
    RefNotFoundError,
)
from tests.support.jobs import done

ANN = Author(name="Ann", email="ann@example.org", type="user")
TEN = "".join(f"{number}\n" for number in range(10))


def contents(repo: MemoryRepo, ref: str = "main") -> dict[str, str]:
    return {path: file.text for path, file in done(repo.get_files(ref)).items()}


def parted(
    repo: MemoryRepo, ours: Mapping[str, str | None], theirs: Mapping[str, str | None], **base: str
) -> tuple[str, str]:
    """Have ``main`` and ``side`` change what both come from; return both heads."""
    repo.commit(base, "base")
    repo.commit(theirs, "theirs", branch="side")
    repo.commit(ours, "ours")
    return done(repo.get_head_sha()), done(repo.get_head_sha("side"))


def test_a_branch_is_moved_to_what_is_ahead_of_it_and_told_when_nothing_is(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())
    ahead = done(repo.commit({"a": "x"}, "ahead", branch="side"))

    moved = done(repo.merge("side", fast_forward="only"))
    again = done(repo.merge("side"))

    assert (moved.sha, moved.kind, moved.parents, moved.files_changed) == (
        ahead.sha,
        "fast_forward",
        [first],
        ["a"],
    )
    assert (again.sha, again.kind, again.files_changed) == (ahead.sha, "up_to_date", [])


def test_nothing_is_to_be_merged_in_a_memory_of_one_commit(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())

    made = done(repo.merge("main", request_id="merged-nothing"))

    assert (made.sha, made.kind, made.parents, made.files_changed) == (first, "up_to_date", [], [])
    assert done(repo.merge("main", request_id="merged-nothing")) == made


def test_two_branches_become_one_commit_with_both_parents_and_both_changes(repo: MemoryRepo) -> None:
    ours, theirs = parted(repo, {"t": "X\n" + TEN, "a": "a"}, {"t": TEN + "Y\n", "b": "b"}, t=TEN)

    preview = done(repo.preview_merge("side"))
    made = done(repo.merge("side", "main", "together", author=ANN, expected_head=ours))
    told = done(repo.get_commit())

    assert (preview.kind, preview.files_changed, preview.conflicts) == ("merge", ["b", "t"], [])
    assert (made.kind, made.parents, made.files_changed) == ("merge", [ours, theirs], ["b", "t"])
    assert (told.sha, told.message, told.author_name, told.parent_sha) == (made.sha, "together", "Ann", ours)
    assert contents(repo) == {
        "human.md": "likes tea\n",
        "t": "X\n" + TEN + "Y\n",
        "a": "a",
        "b": "b",
    }
    assert {commit.message for commit in done(repo.get_history())} >= {"ours", "theirs"}
    assert done(repo.get_head_sha("side")) == theirs


def test_a_conflict_changes_nothing_and_tells_paths_lines_and_shas(repo: MemoryRepo) -> None:
    heads = parted(repo, {"t": "X\n" + TEN, "d": None}, {"t": "Y\n" + TEN, "d": "2"}, t="0\n" + TEN, d="1")
    before = contents(repo)

    with pytest.raises(MergeConflictError) as refused:
        done(repo.merge("side"))
    preview = done(repo.preview_merge("side"))

    details = refused.value.details
    deleted, changed = details["conflicts"]
    assert (details["conflict_count"], details["target_sha"], details["source_sha"]) == (2, *heads)
    assert (deleted["path"], deleted["kind"], deleted["ours"]) == ("d", "deleted", None)
    assert (changed["path"], changed["kind"]) == ("t", "content")
    assert changed["hunks"] == [{side: {"first": 1, "count": 1} for side in ("base", "ours", "theirs")}]
    assert "X" not in str(refused.value)
    assert [(one.path, one.kind) for one in preview.conflicts] == [("d", "deleted"), ("t", "content")]
    text = preview.conflicts[1]
    assert text.ours is not None
    assert text.ours.text == "X\n" + TEN
    assert text.theirs is not None
    assert (text.theirs.text, text.theirs.sha) == ("Y\n" + TEN, changed["theirs"])
    assert contents(repo) == before
    assert done(repo.get_head_sha()) == heads[0]


def test_resolutions_decide_conflicts_and_nothing_else(repo: MemoryRepo) -> None:
    parted(repo, {"t": "X\n", "d": None}, {"t": "Y\n", "d": "2", "b": "b"}, t="0\n", d="1")

    with pytest.raises(MergeConflictError) as refused:
        done(repo.merge("side", resolutions={"t": "XY\n"}))
    assert [one["path"] for one in refused.value.details["conflicts"]] == ["d"]
    with pytest.raises(InvalidRequestError, match="does not conflict") as unused:
        done(repo.merge("side", resolutions={"t": "XY\n", "d": None, "b": "other"}))
    assert unused.value.details["field"] == "resolutions[2].path"

    resolved = [FileChange(path="/t", content="XY\n", executable=True), FileChange(path="d")]
    done(repo.merge("side", resolutions=resolved))

    assert contents(repo) == {"human.md": "likes tea\n", "t": "XY\n", "b": "b"}
    assert done(repo.get_file("t")).executable


def test_deleting_what_is_not_there_below_a_file_decides_nothing_about_the_file(repo: MemoryRepo) -> None:
    heads = parted(repo, {"t": "X\n"}, {"t": "Y\n"}, t="0\n")

    with pytest.raises(MergeConflictError) as refused:
        done(repo.merge("side", resolutions={"t/x": None}))

    assert [one["path"] for one in refused.value.details["conflicts"]] == ["t"]
    assert done(repo.get_head_sha()) == heads[0]


def test_a_favor_is_advised_where_it_decides_something(repo: MemoryRepo) -> None:
    parted(repo, {"t": "X\n", "d": None}, {"t": "Y\n", "d": "2"}, t="0\n", d="1")

    with pytest.raises(MergeConflictError, match="Decide by resolutions or favor, then merge again"):
        done(repo.merge("side"))
    for how in ({"favor": "ours"}, {"resolutions": {"t": "XY\n"}}):
        with pytest.raises(
            MergeConflictError, match=r"'d' \(deleted\).* Decide by resolutions, then merge again"
        ):
            done(repo.merge("side", **cast("Any", how)))


@pytest.mark.parametrize(
    ("favor", "after"),
    [("ours", "X\n1\n2\n3\n4\n"), ("theirs", "Y\n1\n2\n3\n4\n"), ("union", "X\nY\n1\n2\n3\n4\n")],
)
def test_a_favor_decides_hunks_that_conflict_and_leaves_the_others_merged(
    repo: MemoryRepo, favor: Any, after: str
) -> None:
    parted(repo, {"t": "X\n1\n2\n3\n"}, {"t": "Y\n1\n2\n3\n4\n"}, t="0\n1\n2\n3\n")

    done(repo.merge("side", favor=favor))

    assert contents(repo)["t"] == after


def test_a_preview_takes_what_decides_conflicts_and_tells_what_is_left(repo: MemoryRepo) -> None:
    heads = parted(
        repo, {"t": "X\n", "d": None, "own": "o"}, {"t": "Y\n", "d": "2", "b": "b"}, t="0\n", d="1"
    )

    def told(**how: Any) -> tuple[str, list[str], list[str]]:
        found = done(repo.preview_merge("side", **how))
        return found.kind, found.files_changed, [conflict.path for conflict in found.conflicts]

    assert told() == ("merge", ["b"], ["d", "t"])
    assert told(favor="theirs") == ("merge", ["b", "t"], ["d"])
    assert told(resolutions={"d": None}) == ("merge", ["b"], ["t"])
    assert told(resolutions={"t": "XY\n"}) == ("merge", ["b", "t"], ["d"])
    decided: dict[str, Any] = {"resolutions": {"d": None, "t": "X\n"}}
    assert told(**decided) == ("merge", ["b"], []), "what a resolution leaves as ours has it does not change"
    assert told(squash=True, favor="ours", resolutions={"d": "3"}) == ("squash", ["b", "d"], [])
    for resolutions in ({"b": "x"}, {"never": None}):
        with pytest.raises(InvalidRequestError, match=r"resolutions\[0\]"):
            done(repo.preview_merge("side", resolutions=resolutions))
    assert (done(repo.get_head_sha()), done(repo.get_head_sha("side"))) == heads

    assert done(repo.merge("side", **decided)).files_changed == ["b"]
    assert told() == ("up_to_date", [], [])


def test_a_preview_of_a_squash_is_one_also_where_a_branch_could_be_moved(repo: MemoryRepo) -> None:
    done(repo.commit({"a": "x"}, "ahead", branch="side"))

    assert done(repo.preview_merge("side")).kind == "fast_forward"
    found = done(repo.preview_merge("side", squash=True))
    assert (found.kind, found.files_changed) == ("squash", ["a"])
    done(repo.merge("side", squash=True))
    assert done(repo.preview_merge("side", squash=True)).kind == "up_to_date"


def test_a_squash_has_one_parent_and_may_be_merged_again_from_what_came_after(repo: MemoryRepo) -> None:
    ours, _ = parted(repo, {"a": "a"}, {"b": "b"})

    made = done(repo.merge("side", squash=True))
    again = done(repo.merge("side", squash=True))

    assert (made.kind, made.parents, made.files_changed) == ("squash", [ours], ["b"])
    assert (again.kind, again.sha) == ("up_to_date", made.sha)
    assert done(repo.get_commit()).message == "Squash side"
    done(repo.delete_branch("side"))
    assert contents(repo)["b"] == "b"


def test_a_merge_keeps_the_rules_that_it_is_given(repo: MemoryRepo) -> None:
    done(repo.commit({"a": "x"}, "ahead", branch="side"))
    made = done(repo.merge("side", fast_forward="never"))
    assert (made.kind, len(made.parents)) == ("merge", 2)

    ours, _ = parted(repo, {"b": "b"}, {"c": "c"})
    with pytest.raises(HeadMovedError, match="cannot be fast-forwarded"):
        done(repo.merge("side", fast_forward="only"))
    with pytest.raises(HeadMovedError) as moved:
        done(repo.merge("side", expected_head=made.sha))
    assert moved.value.details["head"] == ours
    with pytest.raises(InvalidRequestError, match="fast_forward"):
        repo.merge("side", squash=True, fast_forward="never")


def test_a_file_in_the_place_of_a_folder_is_a_conflict_that_writing_or_deleting_it_decides(
    repo: MemoryRepo,
) -> None:
    parted(repo, {"notes": "file"}, {"notes/day": "1", "b": "b"})
    repo.create_branch("ours")
    with pytest.raises(MergeConflictError) as refused:
        done(repo.merge("side"))
    assert [(one["path"], one["kind"]) for one in refused.value.details["conflicts"]] == [
        ("notes", "file_folder")
    ]

    done(repo.merge("side", resolutions={"notes": "one file"}))
    done(repo.merge("side", "ours", resolutions={"notes": None}))

    assert contents(repo) == {"human.md": "likes tea\n", "b": "b", "notes": "one file"}
    assert contents(repo, "ours") == {"human.md": "likes tea\n", "b": "b", "notes/day": "1"}


def test_names_that_some_file_systems_take_for_one_are_a_conflict(repo: MemoryRepo) -> None:
    parted(repo, {"Notes.md": "ours"}, {"notes.md": "theirs"})

    with pytest.raises(MergeConflictError) as refused:
        done(repo.merge("side"))
    done(repo.merge("side", resolutions={"notes.md": None}))

    assert [(one["path"], one["kind"]) for one in refused.value.details["conflicts"]] == [
        ("notes.md", "name")
    ]
    assert contents(repo) == {"human.md": "likes tea\n", "Notes.md": "ours"}


def test_a_merge_that_is_sent_again_is_answered_alike(repo: MemoryRepo) -> None:
    parted(repo, {"a": "a"}, {"b": "b"})
    request_id = f"merge-{repo.agent_id}"

    made = done(repo.merge("side", request_id=request_id))
    again = done(repo.merge("side", request_id=request_id))
    told = done(repo.find_request(request_id))

    assert again == made
    assert told is not None
    assert (told.verdict, told.sha) == ("committed", made.sha)
    assert len([one for one in done(repo.get_history()) if one.request_id == request_id]) == 1


def test_what_is_not_there_cannot_be_merged(repo: MemoryRepo) -> None:
    refusals: list[tuple[Any, type[MemoryRepoError]]] = [
        (repo.merge("nowhere"), RefNotFoundError),
        (repo.merge("main", "nowhere"), RefNotFoundError),
        (repo.preview_merge("nowhere"), RefNotFoundError),
        (repo.preview_merge("main", "nowhere"), RefNotFoundError),
    ]
    for job, kind in refusals:
        with pytest.raises(kind):
            done(job)
