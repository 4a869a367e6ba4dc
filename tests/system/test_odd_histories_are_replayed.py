"""Histories as they are in the wild, replayed: equal, or what was left out is counted and named."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.histories import Scribe
from tests.support.replaying import replay, report
from tests.support.systems import System

_NUMBERS = count(1)


@pytest.fixture
def agent() -> str:
    return f"odd-{next(_NUMBERS)}"


def left_out(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(file["path"], file["commit"]) for file in found["left_out_files"]]


def test_a_folder_that_differs_from_another_in_case_is_left_out_counted_and_named(
    system: System, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe()
    first = scribe.commit({"A/x": b"1\n"})
    second = scribe.commit({"A/x": b"1\n", "a/y": b"2\n"}, first)
    third = scribe.commit({"A/x": b"1\n", "a/y": b"3\n", "b": b"4\n"}, second)
    origin = scribe.write(tmp_path / "origin.git", {"refs/heads/main": third})

    found = report(replay(system, tmp_path, str(origin), "--agent", agent, "--json"))

    assert (found["same_tree"], found["same_files"], found["equal"]) == (1, 2, True)
    assert found["left_out"] == {"is the same name as another on macOS or Windows": 2}
    assert left_out(found) == [("a/y", second)]


@pytest.mark.parametrize(
    ("there", "new", "rule"),
    [
        ("README.md", "readme.md", "is the same name as another on macOS or Windows"),
        ("\u00e9.md", "e\u0301.md", "is the same name as another on macOS or Windows"),
        ("a/b/c", "a/B/d/e", "is the same name as another on macOS or Windows"),
        ("Notes", "notes/today", "is a file where another path has a folder"),
        ("notes/today", "Notes", "is a file where another path has a folder"),
    ],
    ids=ascii,
)
def test_whatever_cannot_lie_beside_another_is_left_out_until_there_is_room(
    there: str, new: str, rule: str, system: System, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe()
    first = scribe.commit({there: b"1\n"})
    second = scribe.commit({there: b"1\n", new: b"2\n"}, first)
    third = scribe.commit({new: b"2\n"}, second)
    origin = scribe.write(tmp_path / "origin.git", {"refs/heads/main": third})

    found = report(replay(system, tmp_path, str(origin), "--agent", agent, "--json"))

    assert (found["same_tree"], found["same_files"], found["equal"]) == (2, 1, True)
    assert found["left_out"] == {rule: 1}
    assert left_out(found) == [(new, second)]


def test_the_report_names_what_was_left_out_and_steers_no_terminal(
    system: System, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe()
    names = {"kept.md": b"", "\x1b[2J\n": b"", **{f"trailing{number}.": b"" for number in range(5)}}
    only = scribe.commit(names)
    origin = scribe.write(tmp_path / "origin.git", {"refs/heads/main": only})

    ended = replay(system, tmp_path, str(origin), "--agent", agent)

    assert ended.code == 0
    assert f"         \ufffd[2J\ufffd, from commit {only[:12]} on\n" in ended.stdout
    assert f"         trailing2., from commit {only[:12]} on\n" in ended.stdout
    assert "         and 2 more: --json names them\n" in ended.stdout


def test_a_refusal_of_the_workers_names_the_commit_and_what_to_do(
    system: System, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe()
    first = scribe.commit({"small.md": b"1\n"})
    second = scribe.commit({"small.md": b"1\n", "large.bin": bytes(9 * 1024 * 1024)}, first)
    origin = scribe.write(tmp_path / "origin.git", {"refs/heads/main": second})

    larger = {"MEMREPO_FILE_BYTES_MAX": str(16 * 1024 * 1024)}  # than the worker's
    ended = replay(system, tmp_path, str(origin), "--agent", agent, env=larger)

    assert ended.code == 2
    error = ended.stderr.splitlines()[-1]
    assert error.startswith(f"Error: commit {second} of the original was not taken: changes[0].content: ")
    assert error.endswith(f"to begin anew, run memrepo delete replay {agent}")
