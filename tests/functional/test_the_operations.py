"""What each call does, through the queue and inline."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memrepo import (
    Author,
    ContentMovedError,
    FileChange,
    HeadMovedError,
    InvalidRequestError,
    MemoryRepo,
    MemoryRepos,
    PathNotFoundError,
    RefNotFoundError,
    RepoExistsError,
    RepoNotFoundError,
    append,
    move,
)
from tests.support.jobs import done
from tests.support.samples import SAMPLES

ANN = Author(name="Ann O'Neil Jr.", email="ann@example.org", type="user", id="u-7")


def texts(repo: MemoryRepo, ref: str = "HEAD") -> dict[str, str]:
    return {path: file.text for path, file in done(repo.get_files(ref)).items()}


def test_a_commit_is_read_back_with_all_that_was_said_of_it(repo: MemoryRepo) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)

    result = done(
        repo.commit({"human.md": "likes tea\nand cake\n", "dir/x": "1\n2\n"}, "learned\n\nmore", author=ANN)
    )

    assert result.created
    assert (result.branch, result.message) == ("main", "learned\n\nmore")
    assert (result.files_changed, result.additions, result.deletions) == (["dir/x", "human.md"], 3, 0)
    assert (result.author_name, result.author_email) == (ANN.name, ANN.email)
    assert (result.author_type, result.author_id) == ("user", "u-7")
    assert before < result.timestamp < datetime.now(UTC) + timedelta(seconds=2)
    assert texts(repo) == {"human.md": "likes tea\nand cake\n", "dir/x": "1\n2\n"}
    assert done(repo.get_head_sha()) == result.sha
    newest, first = done(repo.get_history())
    assert newest.model_dump() == result.model_dump(
        exclude={"branch", "created", "new_branch", "rebased_from"}
    )
    assert newest.parent_sha == first.sha
    assert first.message == "Initial commit"


def test_a_read_sees_every_commit_enqueued_before_it(repo: MemoryRepo) -> None:
    jobs = [repo.commit({"n": str(number)}, f"step {number}") for number in range(5)]
    reads = [repo.get_file("n") for _ in range(2)]
    later = repo.commit({"n": "later"}, "later")

    assert [done(read).text for read in reads] == ["4", "4"]
    assert len({done(job).sha for job in [*jobs, later]}) == 6


def test_commits_that_nobody_waited_for_are_in_history_in_call_order(repo: MemoryRepo) -> None:
    jobs = [repo.commit({f"f{number}": "x"}, f"step {number}") for number in range(30)]
    done(jobs[-1])

    messages = [commit.message for commit in done(repo.get_history(limit=30))]

    assert messages == [f"step {number}" for number in reversed(range(30))]


def test_files_come_back_byte_for_byte(repo: MemoryRepo) -> None:
    contents = {
        "binary": bytes(range(256)),
        "crlf.txt": b"a\r\nb\r\n",
        "empty": b"",
        "bom": b"\xef\xbb\xbfhello",
        "not-utf-8": b"caf\xe9",
        "zero": b"\0",
    }
    done(repo.commit(contents, "odd bytes"))

    files = done(repo.get_files())

    assert {path: files[path].data for path in contents} == contents
    assert all(files[path].size == len(data) for path, data in contents.items())


def test_odd_names_are_kept(repo: MemoryRepo) -> None:
    names = [
        "café/naïve.md",
        "日本語.txt",
        "with space",
        "quote'd",
        "-n",
        "--help",
        "a&b;c",
        "%41",
        "$HOME",
        "#x",
    ]
    done(repo.commit(dict.fromkeys(names, "x"), "odd names"))

    assert set(names) < set(done(repo.get_files()))
    assert {info.path for info in done(repo.list_files())} == {*names, "human.md"}
    assert [commit.message for commit in done(repo.get_history("日本語.txt"))] == ["odd names"]


def test_executables_keep_their_mode_until_told_otherwise(repo: MemoryRepo) -> None:
    done(repo.commit([FileChange(path="run", content=b"1", executable=True)], "run"))
    done(repo.commit({"run": "2"}, "edit"))
    assert done(repo.get_file("run")).executable

    result = done(repo.commit([FileChange(path="run", content=b"2", executable=False)], "mode"))

    assert result.created
    assert result.files_changed == ["run"]
    assert not done(repo.get_file("run")).executable


def test_a_branch_begins_at_its_start_point_and_leaves_main_alone(repo: MemoryRepo) -> None:
    first = done(repo.get_head_sha())
    done(repo.commit({"x": "main"}, "on main"))

    on_branch = done(repo.commit({"x": "idea"}, "on idea", branch="ideas/one", start_point=first))

    assert on_branch.parent_sha == first
    assert done(repo.get_file("x")).text == "main"
    assert done(repo.get_file("x", ref="ideas/one")).text == "idea"
    assert done(repo.get_head_sha("ideas/one")) == on_branch.sha
    assert [commit.message for commit in done(repo.get_history(ref="ideas/one"))] == [
        "on idea",
        "Initial commit",
    ]


def test_a_file_is_read_as_it_was_at_an_old_commit(repo: MemoryRepo) -> None:
    old = done(repo.commit({"n": "1"}, "one"))
    done(repo.commit({"n": "2"}, "two"))

    assert done(repo.get_file("n", ref=old.sha)).text == "1"
    assert done(repo.get_files(old.sha)).commit_sha == old.sha


def test_some_paths_can_be_asked_for_and_those_that_are_not_there_are_left_out(repo: MemoryRepo) -> None:
    done(repo.commit({"a": "1", "b": "2"}, "two"))

    assert set(done(repo.get_files(paths=["a", "nothing"]))) == {"a"}


def test_listing_goes_by_prefix_and_page(repo: MemoryRepo) -> None:
    done(repo.commit({f"notes/{number:02d}.md": "x" for number in range(5)}, "notes"))

    first = done(repo.list_files("notes/", limit=3))
    second = done(repo.list_files("notes/", limit=3, after=first[-1].path))

    assert [info.path for info in first + second] == [f"notes/{number:02d}.md" for number in range(5)]
    assert first[0].size == 1
    assert done(repo.list_files("/notes/", limit=3)) == first, "as every path, it may begin with a slash"
    assert done(repo.list_files("/notes/", after=f"/{first[-1].path}")) == second
    assert len(done(repo.list_files("/"))) == 6


def test_history_goes_by_page_and_by_file(repo: MemoryRepo) -> None:
    for number in range(6):
        done(repo.commit({"even" if number % 2 == 0 else "odd": str(number)}, f"step {number}"))

    page = done(repo.get_history(limit=2))
    rest = done(repo.get_history(limit=50, after=page[-1].sha))

    assert [commit.message for commit in page] == ["step 5", "step 4"]
    assert [commit.message for commit in rest] == ["step 3", "step 2", "step 1", "step 0", "Initial commit"]
    assert [commit.message for commit in done(repo.get_history("odd"))] == ["step 5", "step 3", "step 1"]
    assert done(repo.get_history("never")) == []


def test_one_commit_is_described_by_any_ref_as_history_describes_it(repo: MemoryRepo) -> None:
    done(repo.commit({"x": "1\n2\n"}, "two lines", author=ANN))
    newest, first = done(repo.get_history())

    assert [done(repo.get_commit(ref)) for ref in ("HEAD", "main", newest.sha, newest.sha[:7])] == [
        newest
    ] * 4
    assert done(repo.get_commit()) == newest
    assert done(repo.get_commit("main~1")) == first
    with pytest.raises(RefNotFoundError, match="'main~2'"):
        done(repo.get_commit("main~2"))


def test_a_commit_that_changes_nothing_says_so_and_describes_the_head(repo: MemoryRepo) -> None:
    head = done(repo.get_history())[0]

    result = done(repo.commit({"human.md": "likes tea\n"}, "again"))

    assert not result.created
    assert (result.sha, result.message) == (head.sha, head.message)
    assert len(done(repo.get_history())) == 1


def test_expected_head_is_checked(repo: MemoryRepo) -> None:
    head = done(repo.get_head_sha())
    moved = done(repo.commit({"x": "1"}, "one", expected_head=head)).sha

    with pytest.raises(HeadMovedError) as refusal:
        done(repo.commit({"x": "2"}, "two", expected_head=head))

    assert refusal.value.details["head"] == moved
    assert done(repo.get_file("x")).text == "1"


def test_a_branch_that_is_not_there_is_told_as_such_where_its_head_was_expected(
    repos: MemoryRepos, repo: MemoryRepo
) -> None:
    head, missing = done(repo.get_head_sha()), "a" * 40
    never = repos.repo(org_id="acme", agent_id=f"{repo.agent_id}-never")

    with pytest.raises(HeadMovedError) as refusal:
        done(repo.commit({"x": "1"}, "one", branch="draft", expected_head=missing))
    with pytest.raises(HeadMovedError) as of_nobody:
        done(never.commit({"x": "1"}, "one", create_repo_if_missing=True, expected_head=missing))
    begun = done(repo.commit({"x": "1"}, "one", branch="draft", expected_head=head))

    assert refusal.value.message == (
        f"there is no branch 'draft' that could be at {missing}; it would begin at {head}"
    )
    assert refusal.value.details == {"branch": "draft", "head": head}
    assert of_nobody.value.message == f"there is no branch 'main' that could be at {missing}"
    assert (begun.parent_sha, begun.new_branch) == (head, True)


def test_expected_content_is_checked_per_file(repo: MemoryRepo) -> None:
    def change(expected: str) -> list[FileChange]:
        return [FileChange(path="human.md", content=b"new", expected_sha256=expected)]

    with pytest.raises(ContentMovedError) as refusal:
        done(repo.commit(change(""), "must not exist"))
    present = hashlib.sha256(b"likes tea\n").hexdigest()
    assert refusal.value.details["path"] == "human.md"
    assert refusal.value.details["sha256"] == present

    assert done(repo.commit(change(present), "as expected")).created
    with pytest.raises(ContentMovedError):
        done(repo.commit(change(present), "no more"))
    absent = [FileChange(path="new.md", content=b"1", expected_sha256="")]
    assert done(repo.commit(absent, "was absent")).created


def test_the_same_request_id_is_applied_once_and_answered_alike(repo: MemoryRepo) -> None:
    first = done(repo.commit({"x": "1"}, "one", request_id="my-own-id-1"))
    done(repo.commit({"x": "2"}, "two"))

    again = done(repo.commit({"x": "1"}, "one", request_id="my-own-id-1"))

    assert again == first
    assert done(repo.get_file("x")).text == "2"


def test_the_same_request_id_with_another_body_is_refused(repo: MemoryRepo) -> None:
    done(repo.commit({"x": "1"}, "one", request_id="my-own-id-1"))

    with pytest.raises(InvalidRequestError, match="request_id"):
        done(repo.commit({"x": "other"}, "one", request_id="my-own-id-1"))


def test_two_agents_may_use_the_same_request_id(repos: MemoryRepos, repo: MemoryRepo) -> None:
    other = repos.repo(org_id="acme", agent_id=f"{repo.agent_id}-other")
    jobs = [
        agent.commit({"x": agent.agent_id}, "same id", request_id="shared-id-1", create_repo_if_missing=True)
        for agent in (repo, other)
    ]

    assert done(jobs[0]).sha != done(jobs[1]).sha
    assert done(other.get_file("x")).text == other.agent_id


def test_a_memory_can_begin_with_a_commit(nobody: MemoryRepo) -> None:
    result = done(nobody.commit({"x": "1"}, "begin", create_repo_if_missing=True))

    assert (result.parent_sha, result.message) == (None, "begin")
    assert texts(nobody) == {"x": "1"}


def test_a_memory_that_begins_on_a_branch_has_a_main_too(nobody: MemoryRepo) -> None:
    result = done(nobody.commit({"x": "1"}, "begin", branch="ideas", create_repo_if_missing=True))

    assert done(nobody.get_head_sha("main")) == done(nobody.get_head_sha("ideas")) == result.sha


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if sample.of_nobody])
def test_whatever_is_asked_of_a_memory_that_was_never_created_is_an_error(
    nobody: MemoryRepo, name: str
) -> None:
    with pytest.raises(RepoNotFoundError) as refusal:
        done(SAMPLES[name].ask(nobody))
    assert isinstance(refusal.value, FileNotFoundError)


def test_what_became_of_a_request_can_be_asked_where_there_is_no_memory(nobody: MemoryRepo) -> None:
    assert done(nobody.find_request("never-sent-1")) is None


def test_what_is_not_there_is_named(repo: MemoryRepo) -> None:
    with pytest.raises(PathNotFoundError, match="'nope'"):
        done(repo.get_file("nope"))
    with pytest.raises(RefNotFoundError, match="'nope'"):
        done(repo.get_files("nope"))
    with pytest.raises(RefNotFoundError):
        done(repo.get_files("a" * 40))
    with pytest.raises(RefNotFoundError):
        done(repo.get_head_sha("nope"))
    with pytest.raises(RefNotFoundError):
        done(repo.commit({"x": "1"}, "one", branch="new", start_point="nope"))


@pytest.mark.parametrize(
    "changes",
    [
        {"notes": None},
        {"notes": None, "notes/a.md": None},
        [append("notes/c.md", "x"), FileChange(path="notes")],
        [append("new/c.md", "x"), FileChange(path="new")],
    ],
)
def test_a_folder_is_not_deleted_by_its_own_path(repo: MemoryRepo, changes: Any) -> None:
    done(repo.commit({"notes/a.md": "1", "notes/b.md": "2"}, "notes"))

    with pytest.raises(InvalidRequestError, match=r"changes: '(notes|new)' is a folder: delete the files"):
        done(repo.commit(changes, "gone"))

    assert [file.path for file in done(repo.list_files("notes/"))] == ["notes/a.md", "notes/b.md"]


@pytest.mark.parametrize(
    "changes",
    [
        {"notes": None, "notes/a.md": None, "notes/b.md": None},
        {"notes/a.md": None, "notes/b.md": None, "notes": "a file now"},
        [move("notes", "old"), FileChange(path="notes")],
    ],
)
def test_a_folder_goes_with_its_files(repo: MemoryRepo, changes: Any) -> None:
    done(repo.commit({"notes/a.md": "1", "notes/b.md": "2"}, "notes"))

    assert done(repo.commit(changes, "gone")).created
    assert done(repo.list_files("notes/")) == []


def test_a_file_where_a_folder_is_wanted_is_refused_and_the_rest_goes_on(repo: MemoryRepo) -> None:
    with pytest.raises(InvalidRequestError, match=r"human\.md"):
        done(repo.commit({"human.md/inside": "x"}, "conflict"))

    assert done(repo.commit({"fine": "x"}, "fine")).created


def test_a_deleted_memory_is_gone_and_can_begin_anew(repo: MemoryRepo) -> None:
    old = done(repo.get_head_sha())
    done(repo.delete_repo())

    with pytest.raises(RepoNotFoundError):
        done(repo.get_files())
    with pytest.raises(RepoNotFoundError):
        done(repo.commit({"x": "1"}, "one"))

    done(repo.create_repo({"new": "life"}))
    assert texts(repo) == {"new": "life"}
    with pytest.raises(RefNotFoundError):
        done(repo.get_files(old))


def test_creating_twice_is_refused_and_changes_nothing(repo: MemoryRepo) -> None:
    with pytest.raises(RepoExistsError):
        done(repo.create_repo({"other": "x"}))

    assert texts(repo) == {"human.md": "likes tea\n"}
