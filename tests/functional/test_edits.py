"""Edits say what to do with a file, and are applied where their commit has its turn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from memrepo import (
    CommitResult,
    ContentMovedError,
    Edit,
    FileChange,
    HeadMovedError,
    InvalidRequestError,
    Job,
    MemoryRepo,
    MemoryRepoError,
    PathNotFoundError,
    TooLargeError,
    append,
    insert,
    move,
    replace,
)
from memrepo.wire.requests.edits import EditModel
from tests.support.jobs import done

FIRST = "likes tea\n"
"""What ``human.md`` holds in the beginning."""


def named(value: object) -> str | None:
    """Return what a report calls an edit."""
    return f"{type(value).__name__} {value.path}" if isinstance(value, EditModel) else None


def contents(repo: MemoryRepo) -> dict[str, bytes]:
    return {path: file.data for path, file in done(repo.get_files()).items()}


def text(repo: MemoryRepo, path: str = "human.md") -> str:
    return done(repo.get_file(path)).text


def test_an_append_adds_to_the_end_and_begins_a_file_that_is_not_there(repo: MemoryRepo) -> None:
    made = done(
        repo.commit([append("human.md", "and cake"), append("/new.md", "x\n", new_line=True)], "more")
    )

    assert (made.files_changed, made.additions, made.deletions) == (["human.md", "new.md"], 2, 0)
    assert contents(repo) == {"human.md": b"likes tea\nand cake", "new.md": b"x\n"}


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b"x"), (b"a\n", b"a\nx"), (b"a", b"a\nx"), (b"a\r\n", b"a\r\nx")]
)
def test_a_new_line_is_begun_only_where_the_file_does_not_end_in_a_break(
    repo: MemoryRepo, before: bytes, after: bytes
) -> None:
    repo.commit({"log": before}, "before")
    done(repo.commit([append("log", "x", new_line=True)], "log"))

    assert contents(repo)["log"] == after


@pytest.mark.parametrize(
    ("old", "new", "count", "after"),
    [
        ("tea", "coffee", 1, "likes coffee\n"),
        ("e", "", 2, "liks ta\n"),
        ("\n", "\r\n", 1, "likes tea\r\n"),
        (FIRST, "", 1, ""),
    ],
)
def test_a_replace_puts_one_text_in_the_place_of_another(
    repo: MemoryRepo, old: str, new: str, count: int, after: str
) -> None:
    done(repo.commit([replace("human.md", old, new, count=count)], "edit"))

    assert text(repo) == after


def test_occurrences_do_not_overlap(repo: MemoryRepo) -> None:
    repo.commit({"a": "aaaaa"}, "five")
    done(repo.commit([replace("a", "aa", "b", count=2)], "two"))

    assert text(repo, "a") == "bba"


@pytest.mark.parametrize(("count", "found"), [(1, 2), (3, 2)])
def test_a_replace_that_finds_another_number_says_how_many_there_are(
    repo: MemoryRepo, count: int, found: int
) -> None:
    with pytest.raises(ContentMovedError) as caught:
        done(repo.commit([replace("human.md", "e", "", count=count)], "edit"))

    assert caught.value.details == {
        "path": "human.md",
        "sha256": hashlib.sha256(FIRST.encode()).hexdigest(),
        "found": found,
        "expected": count,
    }
    assert text(repo) == FIRST


@pytest.mark.parametrize(
    ("before", "line", "added", "after"),
    [
        ("1\n2\n", 0, "x", "x\n1\n2\n"),
        ("1\n2\n", 1, "x\n", "1\nx\n2\n"),
        ("1\n2\n", 2, "x", "1\n2\nx\n"),
        ("1\n2", 2, "x", "1\n2\nx\n"),
        ("", 0, "x", "x\n"),
        ("1\n", 1, "", "1\n\n"),
        ("line\n" * 5000, 4000, "x", "line\n" * 4000 + "x\n" + "line\n" * 1000),
    ],
)
def test_an_insert_puts_text_behind_a_line(
    repo: MemoryRepo, before: str, line: int, added: str, after: str
) -> None:
    repo.commit({"a": before}, "before")
    done(repo.commit([insert("a", line, added)], "insert"))

    assert text(repo, "a") == after


def test_an_insert_behind_a_line_that_is_not_there_says_how_many_there_are(repo: MemoryRepo) -> None:
    with pytest.raises(ContentMovedError) as caught:
        done(repo.commit([insert("human.md", 2, "x")], "insert"))

    assert (caught.value.details["lines"], caught.value.details["line"]) == (1, 2)


def test_a_file_or_a_folder_is_moved_with_modes_and_bytes(repo: MemoryRepo) -> None:
    repo.commit(
        [
            FileChange(path="d/run", content=b"#!", executable=True),
            FileChange(path="d/e/binary", content=b"\0\xff"),
        ],
        "a folder",
    )
    done(repo.commit([move("human.md", "people/human.md"), move("d", "f/g")], "move"))

    assert contents(repo) == {"people/human.md": FIRST.encode(), "f/g/run": b"#!", "f/g/e/binary": b"\0\xff"}
    assert [file.path for file in done(repo.list_files()) if file.executable] == ["f/g/run"]


def test_a_move_replaces_what_is_there_only_if_told_so(repo: MemoryRepo) -> None:
    repo.commit({"d/a": "1", "d/b": "2", "e/c": "3", "x": "4"}, "files")
    for source, target in (("x", "human.md"), ("x", "d"), ("e", "d"), ("e", "x")):
        with pytest.raises(InvalidRequestError, match="is there already") as caught:
            done(repo.commit([move(source, target)], "move"))
        assert caught.value.details["field"] == "changes[0].to"

    done(repo.commit([move("x", "human.md", overwrite=True), move("e", "d", overwrite=True)], "move"))

    assert contents(repo) == {"human.md": b"4", "d/c": b"3"}


def test_a_move_onto_itself_changes_nothing_and_one_of_nothing_is_refused(repo: MemoryRepo) -> None:
    assert not done(repo.commit([move("human.md", "human.md")], "nothing")).created
    with pytest.raises(PathNotFoundError):
        done(repo.commit([move("nowhere", "nowhere")], "nothing"))


def test_a_name_may_change_by_case_alone(repo: MemoryRepo) -> None:
    done(repo.commit([move("human.md", "Human.md")], "a capital"))

    assert contents(repo) == {"Human.md": FIRST.encode()}


def test_each_change_of_a_commit_sees_those_before_it(repo: MemoryRepo) -> None:
    changes: Sequence[FileChange | Edit] = [
        FileChange(path="run", content="one\n", executable=True),
        append("run", "two\n"),
        insert("run", 1, "between"),
        move("run", "tools/run"),
        move("tools", "bin"),
        replace("bin/run", "two", "three"),
        append("run", "another\n"),
        FileChange(path="human.md"),
        append("human.md", "new\n"),
        move("human.md", "me"),
        FileChange(path="human.md", content="last\n"),
    ]
    made = done(repo.commit(changes, "all at once"))

    assert contents(repo) == {
        "bin/run": b"one\nbetween\nthree\n",
        "run": b"another\n",
        "me": b"new\n",
        "human.md": b"last\n",
    }
    assert [file.path for file in done(repo.list_files()) if file.executable] == ["bin/run"]
    assert made.files_changed == ["bin/run", "human.md", "me", "run"]


def test_edits_that_come_to_nothing_make_no_commit(repo: MemoryRepo) -> None:
    there_and_back: list[Edit] = [move("human.md", "a"), move("a", "human.md"), append("human.md", "")]

    assert not done(repo.commit(there_and_back, "nothing")).created


def test_edits_of_many_are_applied_in_order_and_none_is_lost(repo: MemoryRepo) -> None:
    jobs = [repo.commit([append("log", f"{number}\n")], f"step {number}") for number in range(40)]
    done(jobs[-1])

    assert text(repo, "log") == "".join(f"{number}\n" for number in range(40))


def test_the_mode_of_an_edited_file_is_kept(repo: MemoryRepo) -> None:
    repo.commit([FileChange(path="run", content="1\n", executable=True)], "run")
    edits: list[Edit] = [append("run", "2\n"), replace("run", "1", "one"), insert("run", 0, "0")]
    for edit in edits:
        done(repo.commit([edit], "edit"))
        assert done(repo.get_file("run")).executable


@pytest.mark.parametrize("data", [b"a\0b", b"caf\xe9"])
@pytest.mark.parametrize("edit", [append("b", "x"), replace("b", "a", "x"), insert("b", 0, "x")], ids=named)
def test_a_file_that_is_not_text_is_refused_by_name(repo: MemoryRepo, data: bytes, edit: Edit) -> None:
    repo.commit({"b": data}, "binary")
    with pytest.raises(InvalidRequestError, match="'b' is a binary file") as caught:
        done(repo.commit([append("human.md", "x"), edit], "edit"))

    assert (caught.value.details["field"], caught.value.details["path"]) == ("changes[1].path", "b")
    assert contents(repo) == {"human.md": FIRST.encode(), "b": data}


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (replace("nowhere", "a", "b"), PathNotFoundError),
        (insert("nowhere", 0, "b"), PathNotFoundError),
        (append("human.md/inside", "x"), InvalidRequestError),
        (append("HUMAN.md", "x"), InvalidRequestError),
        (move("human.md", "d/x/y"), InvalidRequestError),
    ],
    ids=named,
)
def test_an_edit_that_does_not_fit_what_is_there_changes_nothing(
    repo: MemoryRepo, edit: Edit, kind: type[MemoryRepoError]
) -> None:
    before = done(repo.commit({"d/x": "a file"}, "files"))
    with pytest.raises(kind):
        done(repo.commit([append("human.md", "x"), edit], "edit"))

    assert done(repo.get_head_sha()) == before.sha


def test_limits_hold_for_what_comes_out(repo: MemoryRepo) -> None:
    large = "x" * (8 * 1024 * 1024 - 10)
    repo.commit({"large": large, "many": "a" * 1000}, "large")
    edits: list[Edit] = [append("large", "12345678901"), insert("large", 0, "1234567890")]
    for edit in edits:
        with pytest.raises(TooLargeError, match="file_bytes_max"):
            done(repo.commit([edit], "more"))
    with pytest.raises(TooLargeError, match="file_bytes_max"):
        done(repo.commit([replace("many", "a", "b" * 10_000, count=1000)], "more"))
    deep = "/".join(["y" * 250] * 16)
    with pytest.raises(InvalidRequestError, match="path_bytes_max"):
        done(repo.commit([append(f"d/{'z' * 200}", "x"), move("d", deep)], "deep"))


def test_what_is_expected_is_what_was_there_before_the_commit(repo: MemoryRepo) -> None:
    there = hashlib.sha256(FIRST.encode()).hexdigest()
    edits = [
        append("human.md", "1\n", expected_sha256=there),
        append("human.md", "2\n", expected_sha256=there),
    ]
    done(repo.commit(edits, "both"))

    with pytest.raises(ContentMovedError):
        done(repo.commit(edits[:1], "again"))
    with pytest.raises(ContentMovedError):
        done(repo.commit([append("human.md", "x", expected_sha256="")], "new"))
    with pytest.raises(HeadMovedError):
        done(repo.commit([append("human.md", "x")], "elsewhere", expected_head="a" * 40))
    assert text(repo) == f"{FIRST}1\n2\n"


def test_an_edit_that_is_sent_again_is_applied_once(repo: MemoryRepo) -> None:
    def ask(line: str) -> Job[CommitResult]:
        return repo.commit([append("log", line)], "log", request_id="edit-sent-again-1")

    first, again = ask("once\n"), ask("once\n")  # in one group, if they wait together
    made = done(first)

    assert done(again) == made
    assert done(ask("once\n")) == made
    assert text(repo, "log") == "once\n"
    with pytest.raises(InvalidRequestError, match="was used for another request"):
        done(ask("twice\n"))


def test_a_refused_edit_is_told_alike_when_it_is_sent_again(repo: MemoryRepo) -> None:
    def ask() -> MemoryRepoError:
        job = repo.commit([replace("human.md", "cake", "x")], "edit", request_id="refused-edit-1")
        with pytest.raises(ContentMovedError) as caught:
            done(job)
        return caught.value

    first = ask()
    done(repo.commit([append("human.md", "cake\n")], "now it is there"))

    assert (ask().message, ask().details) == (first.message, first.details)
    outcome = done(repo.find_request("refused-edit-1"))
    assert outcome is not None
    assert isinstance(outcome.error, ContentMovedError)


def test_a_memory_may_begin_with_an_edit(nobody: MemoryRepo) -> None:
    done(nobody.commit([append("log", "first\n")], "begin", create_repo_if_missing=True))

    assert contents(nobody) == {"log": b"first\n"}
