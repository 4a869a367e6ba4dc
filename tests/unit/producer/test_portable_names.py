"""Which names are taken where memories need not go to Windows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memrepo import InvalidRequestError, Limits
from memrepo.validation.values import check_path, check_paths_together
from tests.unit.producer.git_judge import GitJudge
from tests.unit.producer.hostile import PATHS

POSIX = Limits(portable_names="posix")

TAKEN_ON_POSIX = {
    *('What is "it"?.md', "a:b", "a*b", "a?b", 'a"b', "a<b", "a>b", "a|b", "c:x", "C:/Windows/x"),
    *("trailing.", "trailing ", "folder./x", "...", "con", "CON.md", "prn", "Aux.txt", "nul", "notes/nul.md"),
    *("com1", "COM9.log", "com\u00b9", "lpt1", "lpt\u00b3.txt", "nul .txt", "conin$", "CONOUT$"),
}
"""What git takes on Linux and macOS, and Windows cannot store."""


@pytest.fixture(scope="module")
def git() -> Iterator[GitJudge]:
    with tempfile.TemporaryDirectory() as folder:
        yield GitJudge.at(Path(folder))


def taken(path: str, limits: Limits) -> bool:
    try:
        check_path(path, limits, "path")
    except InvalidRequestError:
        return False
    return True


@pytest.mark.parametrize("path", sorted(TAKEN_ON_POSIX), ids=ascii)
def test_what_only_windows_cannot_store_is_taken_where_the_setting_says_so(path: str, git: GitJudge) -> None:
    assert check_path(path, POSIX, "path") == path
    assert git.checks_out([path])
    with pytest.raises(InvalidRequestError, match=r"\(MEMREPO_PORTABLE_NAMES=posix takes it\)\Z"):
        check_path(path, Limits(), "path")


def test_everything_else_that_is_hostile_stays_refused() -> None:
    assert {path for path in PATHS if taken(path, POSIX)} == TAKEN_ON_POSIX & PATHS.keys()


@pytest.mark.parametrize(
    "path",
    [
        *(
            ".git",
            ".GIT",
            ".git ",
            ".git.",
            ".git . .",
            ".git:",
            ".git::$INDEX_ALLOCATION",
            ".git. :x",
            "a/.Git/b",
        ),
        *(
            "git~1",
            "GIT~2 ",
            "git~1:x",
            ".g\u200cit",
            ".git\u200c.",
            "\ufeff.git : ",
            ".gitmodules",
            ".GITMODULES.",
        ),
        *("gitmod~1", "gi7eba~1.", "a\\b", "a\nb", "a\x1bb", "..", "a/./b", "a//b", ""),
    ],
    ids=ascii,
)
def test_what_git_itself_lives_in_is_refused_in_all_its_spellings(path: str) -> None:
    for limits in (POSIX, Limits()):
        with pytest.raises(InvalidRequestError) as refused:
            check_path(path, limits, "path")
        assert "MEMREPO_PORTABLE_NAMES" not in str(refused.value)


def test_twins_stay_refused_for_macos_has_them_too() -> None:
    with pytest.raises(InvalidRequestError, match="'a' is 'A' on macOS or Windows"):
        check_paths_together(["A", "a"], "changes")


def test_there_are_two_rules_for_names() -> None:
    with pytest.raises(ValueError, match="must be one of everywhere, posix"):
        Limits(portable_names="windows")  # type: ignore[arg-type]
