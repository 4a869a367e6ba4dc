"""Searching the files of one ref."""

from __future__ import annotations

from typing import Any

import pytest

from memrepo import InvalidRequestError, Match, MemoryRepo, RefNotFoundError, RepoNotFoundError
from tests.support.jobs import done


def found(repo: MemoryRepo, text: str, **options: Any) -> list[tuple[str, int, str]]:
    return [(match.path, match.line, match.text) for match in done(repo.search(text, **options))]


@pytest.fixture
def notes(repo: MemoryRepo) -> MemoryRepo:
    """A memory of some notes, and of a binary file."""
    files: dict[str, str | bytes | None] = {
        "a/plan.md": "buy tea\nbuy Tea pots\n\nsell cups\n",
        "a-list": "no tea (yet)\r\nno end",
        "b.bin": b"tea\n\0",
        "c.md": b"caf\xe9 tea\n",
    }
    done(repo.commit(files, "notes"))
    return repo


def test_a_text_is_found_in_the_order_of_paths_and_lines_and_binary_files_are_passed_over(
    notes: MemoryRepo,
) -> None:
    assert found(notes, "tea") == [
        ("a-list", 1, "no tea (yet)\r"),
        ("a/plan.md", 1, "buy tea"),
        ("c.md", 1, "caf\ufffd tea"),
        ("human.md", 1, "likes tea"),
    ]
    assert found(notes, "tea (yet)") == [("a-list", 1, "no tea (yet)\r")]
    assert found(notes, "end") == [("a-list", 2, "no end")]
    assert found(notes, "nowhere") == []


def test_a_regular_expression_is_found_within_a_line(notes: MemoryRepo) -> None:
    assert found(notes, "^buy|^no e", regex=True) == [
        ("a-list", 2, "no end"),
        ("a/plan.md", 1, "buy tea"),
        ("a/plan.md", 2, "buy Tea pots"),
    ]
    assert found(notes, r"tea\s+buy", regex=True) == []
    assert found(notes, "^$", regex=True, paths=["a"]) == [("a/plan.md", 3, "")]


def test_case_counts_unless_it_is_ignored(notes: MemoryRepo) -> None:
    assert found(notes, "TEA P", ignore_case=True) == [("a/plan.md", 2, "buy Tea pots")]
    assert found(notes, "t.A P", ignore_case=True, regex=True) == [("a/plan.md", 2, "buy Tea pots")]
    assert found(notes, "t.a p", ignore_case=True) == []


def test_the_lines_around_are_told_as_far_as_there_are_any(notes: MemoryRepo) -> None:
    assert done(notes.search("Tea pots", context=2)) == [
        Match(path="a/plan.md", line=2, text="buy Tea pots", before=["buy tea"], after=["", "sell cups"])
    ]


def test_a_search_can_be_restricted_to_files_and_folders(notes: MemoryRepo) -> None:
    paths = ["human.md", "/a", "a/plan.md", "never", "b.bin"]

    assert [path for path, _, _ in found(notes, "tea", paths=paths)] == ["a/plan.md", "human.md"]
    assert found(notes, "tea", paths=[]) == []


def test_the_first_so_many_are_found(notes: MemoryRepo) -> None:
    assert [path for path, _, _ in found(notes, "tea", limit=2)] == ["a-list", "a/plan.md"]


def test_a_search_says_that_it_stopped_at_its_limit(notes: MemoryRepo) -> None:
    every = done(notes.search("tea"))

    assert [match.limit_reached for match in every] == [False] * len(every)
    some = done(notes.search("tea", limit=len(every) - 1))
    assert [match.limit_reached for match in some] == [*[False] * (len(every) - 2), True]
    assert [match.model_copy(update={"limit_reached": False}) for match in some] == every[:-1]


def test_a_search_is_of_a_ref_and_sees_all_commits_before_it(notes: MemoryRepo) -> None:
    old = done(notes.get_head_sha())
    notes.commit({"human.md": "likes coffee\n"}, "coffee")

    assert found(notes, "likes") == [("human.md", 1, "likes coffee")]
    assert (
        found(notes, "likes", ref=old)
        == found(notes, "likes", ref="main~1")
        == [("human.md", 1, "likes tea")]
    )
    with pytest.raises(RefNotFoundError):
        done(notes.search("x", ref="nowhere"))


def test_a_memory_that_is_not_there_has_nothing_to_be_searched(nobody: MemoryRepo) -> None:
    with pytest.raises(RepoNotFoundError):
        done(nobody.search("tea"))


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("text", {"text": ""}),
        ("text", {"text": "a\nb"}),
        ("text", {"text": "a\0"}),
        ("text", {"text": "\ud800"}),
        ("text", {"text": "ü" * 501}),
        ("text", {"text": 7}),
        ("ref", {"ref": "-"}),
        ("paths[0]", {"paths": ["../x"]}),
        ("context", {"context": 21}),
        ("context", {"context": -1}),
        ("limit", {"limit": 0}),
        ("limit", {"limit": 1001}),
        ("regex", {"regex": 1}),
        ("ignore_case", {"ignore_case": "yes"}),
    ],
)
def test_what_cannot_be_searched_for_is_refused_at_once(
    repo: MemoryRepo, field: str, options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        repo.search(**{"text": "tea", **options})

    assert caught.value.details["field"] == field


@pytest.mark.parametrize(
    "text", ["(", "a{2,1}", "[b-a]", r"(a)\1", "a(?=b)", "*a", "a)|(b", r"\p{Nope}", "a**"]
)
def test_what_is_no_regular_expression_is_refused_by_the_worker(repo: MemoryRepo, text: str) -> None:
    with pytest.raises(InvalidRequestError, match="RE2") as caught:
        done(repo.search(text, regex=True))

    assert caught.value.details["field"] == "text"
    assert "(?m)" not in caught.value.message, "what is told is the caller's own words"
    assert done(repo.search(text)) == []


@pytest.mark.parametrize("text", [r"\pL{300}", "(a{30}){30}" * 40, r"\w{1000}", "(?i)" + r"\pL" * 300])
def test_a_regular_expression_that_would_take_too_long_is_refused(repo: MemoryRepo, text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        done(repo.search(text, regex=True))

    assert caught.value.details["field"] == "text"
