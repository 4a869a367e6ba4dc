"""Whatever we accept, stock git accepts: tried with names made of what is known to be dangerous."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from memrepo import InvalidRequestError, Limits
from memrepo.validation.names import folded
from memrepo.validation.values import check_branch, check_ident, check_path, check_paths_together
from tests.unit.producer.git_judge import GitJudge

LONG = os.environ.get("LONG") == "1"
thorough = settings(
    max_examples=20_000 if LONG else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
pytestmark = pytest.mark.timeout(0 if LONG else 120)

DANGEROUS = [
    *(".", "..", ".git", ".GIT", ".Git", "git", "git~1", "GIT~2", "gitmod~1", "gi7eba~1", ".gitmodules"),
    *(".gitattributes", ".gitignore", ".mailmap", "modules", "~1", "~", " ", ":", "\\", "/", "-", "--", "@"),
    *(
        "{",
        "@{",
        "^",
        "*",
        "?",
        "[",
        "HEAD",
        "refs",
        "heads",
        ".lock",
        "con",
        "NUL",
        "aux",
        "com1",
        "::$DATA",
    ),
    *(
        "\u200c",
        "\u200d",
        "\ufeff",
        "\u206a",
        "\u202e",
        "\u0131",
        "\u0130",
        "\u017f",
        "\u212a",
        "e\u0301",
        "é",
    ),
    *(
        "\n",
        "\t",
        "\x7f",
        "\x80",
        "\x9f",
        "\xa0",
        "\u2028",
        "\ud800",
        "\U0010ffff",
        "a",
        "B",
        "0",
        "<",
        ">",
        '"',
    ),
]
names = st.lists(st.one_of(st.sampled_from(DANGEROUS), st.text(max_size=3)), min_size=1, max_size=5).map(
    "".join
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@pytest.fixture(scope="module")
def git() -> Iterator[GitJudge]:
    with tempfile.TemporaryDirectory() as folder:
        yield GitJudge.at(Path(folder))


def accepted(check: object, *arguments: object) -> bool:
    try:
        check(*arguments)  # type: ignore[operator]
    except InvalidRequestError:
        return False
    return True


def test_git_checks_out_every_set_of_paths_that_we_accept(git: GitJudge) -> None:
    sets: list[list[str]] = []

    @settings(thorough, database=None)
    @given(candidates=st.lists(paths, min_size=1, max_size=6))
    @example(candidates=["a", "b/c.md", "ünïcode/файл.txt", "with space/x", "-n", "a~1", ".gitx", "x.git"])
    def collect(candidates: list[str]) -> None:
        # The limits take what the other rule does, too.
        if together := accepted_together(candidates, Limits(portable_names="posix")):
            sets.append(together)

    collect()
    assert len(sets) > (5_000 if LONG else 75)
    for start in range(0, len(sets), 500):  # each set in a folder of its own: git checks names at any depth
        some = sets[start : start + 500]
        at_once = [f"{number}/{path}" for number, together in enumerate(some) for path in together]
        if not git.checks_out(at_once):
            assert [together for together in some if not git.checks_out(together)] == []


def accepted_together(candidates: list[str], limits: Limits) -> list[str]:
    """Return those of the paths that we accept, one after another, as one commit."""
    together: list[str] = []
    for path in dict.fromkeys(candidates):
        if accepted(check_path, path, limits, "path") and accepted(
            check_paths_together, [*together, path], "paths"
        ):
            together.append(path)
    return together


@thorough
@given(name=st.lists(names, min_size=1, max_size=3).map("/".join))
@example(name="feature/x")
@example(name="-")
@example(name="@")
def test_git_takes_every_branch_that_we_accept(git: GitJudge, name: str) -> None:
    assume(accepted(check_branch, name))

    assert git.is_branch(name)


@thorough
@given(name=names, email=names)
@example(name="Ann Lee", email="ann@example.org")
@example(name=".", email="-")
@example(name="A|B", email="a'b")
def test_git_gives_back_every_author_that_we_accept(git: GitJudge, name: str, email: str) -> None:
    assume(accepted(check_ident, name, "name") and accepted(check_ident, email, "email"))

    assert git.is_author(name, email)


@pytest.mark.parametrize(
    "path", ["../x", ".git/config", ".GIT/x", "a//b", "git~1", ".g\u200cit", "a/./b", "/a"]
)
def test_the_judge_refuses_what_is_known_to_be_bad(git: GitJudge, path: str) -> None:
    assert not git.checks_out([path])


@pytest.mark.parametrize("name", ["a..b", "-x", "a.lock", "a b", "@{-1}", "a~1", "x/", "/x", ".x"])
def test_the_judge_refuses_bad_branches(git: GitJudge, name: str) -> None:
    assert not git.is_branch(name)


GOOD_PATHS = [
    *("human.md", "a", "A-B_c.d", "notes/2024/01.md", ".memrepo/config.json", ".gitignore", ".gitattributes"),
    *("with space.md", " leading", "ünïcode", "файл", "記憶", "emoji 🫖.md", "e\u0301", "é", "-n", "--help", "+x"),
    *("a'b", "a,b;c", "a=b&c", "$HOME", "%PATH%", "#x", "~", "~tilde", "a~1", "git", "git~x", "x.git", "gitmodules"),
    *("console.md", "auxiliary", "null", "com", "com10", "lpt", "nulls.txt", "...a", "..a", ".a", "a.b.c", "[x]"),
    *("{x}", "(x)", "!", "@", "^", "`", "\u00a0x", "a" * 255, "/".join(["d" * 100] * 30)),
]  # fmt: skip


@pytest.mark.parametrize("path", GOOD_PATHS, ids=ascii)
def test_what_is_fine_on_every_platform_is_taken(git: GitJudge, path: str) -> None:
    assert check_path(path, Limits(), "path") == path
    assert git.checks_out([path])


@pytest.mark.parametrize(
    "name", ["main", "feature/x", "a-b_c.d", "ünïcode", "1", "heads", "release-1.0", "a/b/c/d"]
)
def test_ordinary_branches_are_taken(git: GitJudge, name: str) -> None:
    assert check_branch(name) == name
    assert git.is_branch(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("README.md", "readme.MD"),
        ("é", "e\u0301"),
        ("straße", "STRASSE"),
        ("a\u200cb", "ab"),
        ("É/x", "e\u0301/X"),
    ],
)
def test_names_that_are_one_on_some_platform_are_told_apart_by_none(one: str, other: str) -> None:
    assert folded(one) == folded(other)
    with pytest.raises(InvalidRequestError, match="macOS or Windows"):
        check_paths_together([one, other], "paths")


@given(name=st.text())
def test_folding_twice_is_folding_once(name: str) -> None:
    assert folded(folded(name)) == folded(name)
