"""Comparing, restoring, and branches."""

from __future__ import annotations

import pytest

from memrepo import (
    FileChange,
    HeadMovedError,
    InvalidRequestError,
    MemoryRepo,
    PathNotFoundError,
    RefNotFoundError,
    RepoNotFoundError,
)
from tests.support.jobs import done


def test_a_diff_tells_what_happened_to_each_file(repo: MemoryRepo) -> None:
    base = done(repo.commit({"kept": "same\n", "gone": "1\n2\n", "bin": b"\0\1"}, "base")).sha
    done(
        repo.commit(
            {"gone": None, "new": "n\n", "human.md": "likes tea\nand cake\n", "bin": b"\0\2"}, "target"
        )
    )

    diff = done(repo.diff(base, "main"))

    assert diff.base_sha == base
    assert [(file.path, file.status, file.additions, file.deletions, file.binary) for file in diff.files] == [
        ("bin", "modified", 0, 0, True),
        ("gone", "deleted", 0, 2, False),
        ("human.md", "modified", 1, 0, False),
        ("new", "added", 1, 0, False),
    ]
    assert "+and cake\n" in next(file.patch for file in diff.files if file.path == "human.md")
    assert done(repo.diff("main", "main")).files == []


def test_a_diff_tells_modes_also_where_nothing_else_has_changed(repo: MemoryRepo) -> None:
    base = done(repo.commit({"run": "x\n", "gone": "1\n"}, "base")).sha
    changes = [
        FileChange(path="run", content="x\n", executable=True),
        FileChange(path="gone"),
        FileChange(path="new", content="n\n", executable=True),
    ]
    target = done(repo.commit(changes, "target")).sha

    files = done(repo.diff(base, target)).files

    assert [(file.path, file.status, file.old_mode, file.new_mode, file.patch != "") for file in files] == [
        ("gone", "deleted", "100644", None, True),
        ("new", "added", None, "100755", True),
        ("run", "modified", "100644", "100755", False),
    ]


def test_a_diff_can_be_restricted_to_files_and_folders(repo: MemoryRepo) -> None:
    base = done(repo.get_head_sha())
    done(repo.commit({"notes/a": "1", "notes/b": "1", "notesx": "1", "other": "1"}, "target"))

    paths = [file.path for file in done(repo.diff(base, "HEAD", paths=["notes", "other"])).files]

    assert paths == ["notes/a", "notes/b", "other"]


def test_restoring_brings_all_the_old_content_back_and_loses_no_history(repo: MemoryRepo) -> None:
    changes = [FileChange(path="run", content=b"1", executable=True), FileChange(path="a/b", content=b"1")]
    old = done(repo.commit(changes, "old"))
    done(repo.commit({"run": "2", "a/b": None, "later": "x", "human.md": None}, "new"))

    result = done(repo.restore(old.sha))

    assert result.created
    snapshot = done(repo.get_files())
    assert {path: file.text for path, file in snapshot.items()} == {
        "run": "1",
        "a/b": "1",
        "human.md": "likes tea\n",
    }
    assert snapshot["run"].executable
    assert done(repo.diff(old.sha, "main")).files == []
    assert len(done(repo.get_history())) == 4
    assert not done(repo.restore(old.sha)).created


def test_some_paths_can_be_restored(repo: MemoryRepo) -> None:
    old = done(repo.commit({"notes/a": "1", "notes/b": "1", "other": "1"}, "old")).sha
    done(repo.commit({"notes/a": "2", "notes/b": None, "notes/c": "2", "other": "2"}, "new"))

    done(repo.restore(old, paths=["notes"]))

    files = {path: file.text for path, file in done(repo.get_files()).items() if path != "human.md"}
    assert files == {"notes/a": "1", "notes/b": "1", "other": "2"}
    with pytest.raises(PathNotFoundError, match="'never'"):
        done(repo.restore(old, paths=["never"]))


def test_branches_are_created_listed_and_deleted(repo: MemoryRepo) -> None:
    head = done(repo.get_head_sha())
    side = done(repo.create_branch("side"))
    later = done(repo.commit({"x": "1"}, "on side", branch="side"))

    assert (side.name, side.sha) == ("side", head)
    assert [(branch.name, branch.sha) for branch in done(repo.list_branches())] == [
        ("main", head),
        ("side", later.sha),
    ]

    done(repo.create_branch("old", start_point=head))
    done(repo.delete_branch("side"))

    assert [branch.name for branch in done(repo.list_branches())] == ["main", "old"]
    with pytest.raises(RefNotFoundError):
        done(repo.get_files("side"))
    assert done(repo.get_file("x", ref=later.sha)).text == "1"


def test_a_branch_is_deleted_only_from_where_it_is_expected(repo: MemoryRepo) -> None:
    seen = done(repo.create_branch("side")).sha
    later = done(repo.commit({"x": "1"}, "on side", branch="side")).sha

    with pytest.raises(HeadMovedError, match=f"branch 'side' is at {later}, not at {seen}") as told:
        done(repo.delete_branch("side", expected_head=seen))
    assert told.value.details == {"branch": "side", "head": later}
    assert [branch.name for branch in done(repo.list_branches())] == ["main", "side"]

    done(repo.delete_branch("side", expected_head=later, request_id="end-side-1"))
    done(repo.create_branch("side"))
    done(repo.delete_branch("side", expected_head=later, request_id="end-side-1"))

    assert [branch.name for branch in done(repo.list_branches())] == ["main", "side"]
    with pytest.raises(RefNotFoundError, match="'nope'"):
        done(repo.delete_branch("nope", expected_head=later))


def test_creating_a_branch_twice_is_fine_at_the_same_commit_and_refused_at_another(repo: MemoryRepo) -> None:
    head = done(repo.get_head_sha())
    done(repo.create_branch("side"))
    done(repo.commit({"x": "1"}, "on main"))

    assert done(repo.create_branch("side", start_point=head)).sha == head
    with pytest.raises(InvalidRequestError, match="another commit"):
        done(repo.create_branch("side", start_point="main"))


def test_main_cannot_be_deleted(repo: MemoryRepo) -> None:
    with pytest.raises(InvalidRequestError, match="main"):
        repo.delete_branch("main")


def test_what_is_not_there_is_named(repo: MemoryRepo, nobody: MemoryRepo) -> None:
    for job in (
        repo.diff("main", "nope"),
        repo.restore("nope"),
        repo.restore("main", branch="nope"),
        repo.create_branch("x", start_point="nope"),
        repo.delete_branch("nope"),
    ):
        with pytest.raises(RefNotFoundError, match="'nope'"):
            done(job)


def test_a_memory_that_was_never_created_has_no_branches(nobody: MemoryRepo) -> None:
    for job in (
        nobody.list_branches(),
        nobody.create_branch("x"),
        nobody.restore("main"),
        nobody.diff("main", "x"),
    ):
        with pytest.raises(RepoNotFoundError):
            done(job)


@pytest.mark.parametrize("name", ["side/deep", "Side", "main/x", "SIDE/x"])
def test_a_branch_that_git_could_not_keep_beside_another_is_refused(repo: MemoryRepo, name: str) -> None:
    done(repo.create_branch("side"))

    with pytest.raises(InvalidRequestError):
        done(repo.create_branch(name))
    with pytest.raises(InvalidRequestError):
        done(repo.commit({"x": "1"}, "x", branch=name))


def test_a_commit_is_found_by_the_beginning_of_its_sha_and_by_counting_back(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())
    second = done(repo.commit({"human.md": "likes coffee\n"}, "second")).sha

    for ref in (first[:7], "HEAD~1", "main~", f"{second[:12]}~1"):
        assert done(repo.get_file("human.md", ref=ref)).text == "likes tea\n"
    assert done(repo.diff("HEAD~1", second[:7])).base_sha == first
    assert done(repo.create_branch("before", start_point="main~1")).sha == first
    with pytest.raises(RefNotFoundError, match="there are 2 commits"):
        done(repo.get_files("main~2"))


def test_a_commit_tells_whether_it_began_its_branch_also_when_it_is_asked_again(repo: MemoryRepo) -> None:
    on_main = done(repo.commit({"a": "1"}, "on main"))
    misspelt = done(repo.commit({"a": "2"}, "misspelt", branch="mian", request_id="misspelt-1"))
    second = done(repo.commit({"a": "3"}, "second", branch="mian"))
    unchanged = done(repo.commit({}, "nothing", branch="other"))
    again = done(repo.commit({"a": "2"}, "misspelt", branch="mian", request_id="misspelt-1"))

    assert [result.new_branch for result in (on_main, misspelt, second, unchanged, again)] == [
        *(False, True, False),
        *(True, True),
    ]
    assert not unchanged.created
    assert again.sha == misspelt.sha
