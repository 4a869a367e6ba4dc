"""One test for each thing that a legacy server got wrong, as far as a client can see it: here it is right.

Those that need a failing or a racing store are in ``tests/service/test_failing_and_racing_stores_lose_no_commit.py``.
"""

from __future__ import annotations

import pytest

from memrepo import Author, FileChange, InvalidRequestError, MemoryRepo, RepoExistsError, RepoNotFoundError
from tests.support.jobs import done


def test_create_repo_on_an_existing_repository_is_refused_and_leaves_its_history(repo: MemoryRepo) -> None:
    head = done(repo.commit({"x": "1"}, "one")).sha

    with pytest.raises(RepoExistsError):
        done(repo.create_repo({"x": "reset"}))

    assert done(repo.get_head_sha()) == head
    assert len(done(repo.get_history())) == 2


def test_a_commit_behind_a_delete_begins_nothing_anew(repo: MemoryRepo) -> None:
    deleted = repo.delete_repo()
    racing = repo.commit({"x": "1"}, "racing")

    done(deleted)
    with pytest.raises(RepoNotFoundError):
        done(racing)
    with pytest.raises(RepoNotFoundError):
        done(repo.get_files())


@pytest.mark.parametrize(
    "path",
    [
        "../../x",
        "../x",
        "a/../../x",
        "/../x",
        "..",
        ".",
        "a//b",
        "",
        "/",
        ".git/config",
        ".git/refs/heads/main",
        ".GIT/x",
    ],
)
@pytest.mark.parametrize("content", ["x", None])
def test_a_path_that_leads_outside_or_into_gits_own_folder_is_refused(
    repo: MemoryRepo, path: str, content: str | None
) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        repo.commit({path: content}, "attack")

    assert refusal.value.details["field"] == "changes[0].path"


def test_a_path_that_looks_like_an_option_is_a_path(repo: MemoryRepo) -> None:
    result = done(repo.commit({"-n": "1", "--force": "2"}, "options"))

    assert result.files_changed == ["--force", "-n"]
    assert {"-n", "--force"} < set(done(repo.get_files()))
    assert [commit.message for commit in done(repo.get_history("-n"))] == ["options"]


@pytest.mark.parametrize("ref", ["--help", "-n", "--upload-pack=x"])
def test_a_ref_that_begins_with_a_dash_is_refused(repo: MemoryRepo, ref: str) -> None:
    for ask in (
        lambda: repo.get_files(ref),
        lambda: repo.get_history(ref=ref),
        lambda: repo.get_head_sha(ref),
        lambda: repo.commit({"x": "1"}, "m", branch=ref),
    ):
        with pytest.raises(InvalidRequestError):
            ask()


def test_an_author_that_begins_with_a_dash_is_an_author(repo: MemoryRepo) -> None:
    author = Author(name="--amend", email="-x@example.org")

    assert done(repo.commit({"x": "1"}, "m", author=author)).author_name == "--amend"
    assert len(done(repo.get_history())) == 2


def test_non_ascii_and_quoted_names_are_in_get_files(repo: MemoryRepo) -> None:
    names = ["naïve café.md", "it's.md", "日記/今日.md"]
    done(repo.commit(dict.fromkeys(names, "x"), "names"))

    assert set(names) < set(done(repo.get_files()))


def test_a_newline_in_a_name_is_refused(repo: MemoryRepo) -> None:
    with pytest.raises(InvalidRequestError):
        repo.commit({"two\nlines": "x"}, "newline")


def test_a_binary_file_is_read_beside_the_others(repo: MemoryRepo) -> None:
    done(repo.commit({"image.png": b"\x89PNG\r\n\x1a\n\x00\xff"}, "binary"))

    files = done(repo.get_files())

    assert files["image.png"].data == b"\x89PNG\r\n\x1a\n\x00\xff"
    assert files["human.md"].text == "likes tea\n"


def test_crlf_stays_crlf(repo: MemoryRepo) -> None:
    done(repo.commit({"dos.txt": "a\r\nb\r\n"}, "crlf"))

    assert done(repo.get_file("dos.txt")).data == b"a\r\nb\r\n"


def test_bars_in_author_and_message_are_kept(repo: MemoryRepo) -> None:
    done(repo.commit({"x": "1"}, "message | with | bars", author=Author(name="A|B", email="a|b@example.org")))

    newest = done(repo.get_history())[0]

    assert (newest.author_name, newest.author_email) == ("A|B", "a|b@example.org")
    assert newest.message == "message | with | bars"


def test_a_commit_goes_to_its_branch_alone(repo: MemoryRepo) -> None:
    done(repo.commit({"x": "1"}, "on a branch", branch="side"))

    assert "x" not in done(repo.get_files())
    assert "x" in done(repo.get_files("side"))


def test_a_commit_that_changes_nothing_is_no_error(repo: MemoryRepo) -> None:
    assert not done(repo.commit({"human.md": "likes tea\n"}, "same")).created


def test_a_gitignore_keeps_nothing_out(repo: MemoryRepo) -> None:
    done(repo.commit({".gitignore": "*\n"}, "ignore all"))

    done(repo.commit({"notes.md": "written"}, "write"))

    assert done(repo.get_file("notes.md")).text == "written"


def test_additions_and_deletions_count_lines_also_in_history(repo: MemoryRepo) -> None:
    made = done(repo.commit({"human.md": "likes coffee\nand cake\n"}, "edit"))

    newest = done(repo.get_history())[0]

    assert (made.additions, made.deletions) == (newest.additions, newest.deletions) == (2, 1)


def test_history_has_files_email_and_the_whole_message(repo: MemoryRepo) -> None:
    author = Author(name="Ann", email="ann@example.org", type="user")
    done(repo.commit([FileChange(path="x", content=b"1")], "subject\n\nbody\nof two lines", author=author))

    newest = done(repo.get_history())[0]

    assert newest.files_changed == ["x"]
    assert newest.author_email == "ann@example.org"
    assert newest.message == "subject\n\nbody\nof two lines"
