"""Histories as they are in the wild, replayed: equal, or what was left out is counted and named."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from memrepo import MemoryRepos
from tests.support.histories import FILE, FOLDER, GROUP_WRITABLE, PADDED_FOLDER, SUBMODULE, Scribe
from tests.support.replaying import replay, report
from tests.support.systems import System
from tests.support.traps import TRAPS, Trap

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


def test_trees_that_only_spell_their_files_in_another_way_are_said_to_be_equal(
    system: System, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe(folder_mode=PADDED_FOLDER)
    padded = scribe.commit({"a/b/c.md": b"1\n", "d.md": b"2\n"})
    old_mode = scribe.commit({"c.md": (GROUP_WRITABLE, b"1\n")}, padded)
    plain = scribe.commit({"c.md": b"1\n"}, old_mode)
    hollow = scribe.tree({"e": (PADDED_FOLDER, scribe.tree({}))})
    emptied = scribe.commit({"c.md": b"1\n", "empty": (FOLDER, hollow)}, plain)
    unsorted = scribe.raw_tree([(FILE, b"d.md", scribe.blob(b"")), (FILE, b"c.md", scribe.blob(b"1\n"))])
    last = scribe.commit(unsorted, emptied)
    origin = scribe.write(tmp_path / "origin.git", {"refs/heads/main": last})

    ended = replay(system, tmp_path, str(origin), "--agent", agent)

    assert ended.code == 0
    assert "1 of 5 trees are equal to the original's, to the bit\n" in ended.stdout
    assert "4 of 5 trees hold equal files, but the original does not spell them as git does" in ended.stdout


def test_text_in_another_encoding_is_replayed_as_git_log_shows_it(
    system: System, memories: MemoryRepos, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe()
    only = scribe.commit(
        {"a.md": b""},
        message="f\u00fcr".encode("latin-1"),
        author="J\u00f6rg <j@example.org>".encode("latin-1"),
        headers=[b"encoding ISO-8859-1"],
    )
    origin = scribe.write(tmp_path / "origin.git", {"refs/heads/main": only})

    assert report(replay(system, tmp_path, str(origin), "--agent", agent, "--json"))["same_tree"] == 1

    (told,) = memories.repo(org_id="replay", agent_id=agent).get_history().result(timeout_s=20)
    assert (told.author_name, told.message) == ("J\u00f6rg", "f\u00fcr")


@pytest.mark.parametrize("trap", TRAPS[-4:], ids=lambda trap: trap.name)
def test_a_repository_that_would_have_its_missing_files_fetched_is_one_line_and_runs_nothing(
    trap: Trap, system: System, agent: str, tmp_path: Path
) -> None:
    armed = trap.arm(tmp_path / "repository")

    ended = replay(system, tmp_path, str(armed.folder), "--agent", agent)

    assert ended.code == 1
    assert ended.stderr.startswith(f"Error: the history of {armed.folder} cannot be read whole: ")
    assert ended.stderr.count("\n") == 1
    assert not armed.sprung


def test_trouble_with_the_repository_is_json_where_json_is_asked_for(
    system: System, agent: str, tmp_path: Path
) -> None:
    ended = replay(system, tmp_path, str(tmp_path), "--agent", agent, "--json")

    assert (ended.code, ended.stdout) == (1, "")
    assert (
        json.loads(ended.stderr)["error"]["message"] == f"{tmp_path} is not a git repository, nor inside one"
    )


def test_a_history_that_unpacks_to_more_than_the_caps_allow_is_one_line(
    system: System, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe()
    only = scribe.commit({"a": bytes(800_000), "b": bytes(900_000)})
    origin = scribe.write(tmp_path / "origin.git", {"refs/heads/main": only})

    small = {"MEMREPO_FOREIGN_UNPACKED_BYTES_MAX": str(1024 * 1024)}
    ended = replay(system, tmp_path, str(origin), "--agent", agent, env=small)

    assert ended.code == 1
    assert "over MEMREPO_FOREIGN_UNPACKED_BYTES_MAX (1048576), reading the history of" in ended.stderr
    assert "--limit" in ended.stderr


def test_commits_that_make_none_and_those_of_side_branches_are_counted(
    system: System, memories: MemoryRepos, agent: str, tmp_path: Path
) -> None:
    scribe = Scribe()
    first = scribe.commit({"a.md": b"1\n"})
    empty = scribe.commit({"a.md": b"1\n"}, first)
    only_a_submodule = scribe.commit({"a.md": b"1\n", "inner": (SUBMODULE, first)}, empty)
    side = scribe.commit({"a.md": b"1\n", "side.md": b"1\n"}, first)
    side = scribe.commit({"a.md": b"1\n", "side.md": b"2\n"}, side)
    merge = scribe.commit({"a.md": b"1\n", "side.md": b"2\n"}, only_a_submodule, side)
    elsewhere = scribe.commit({"a.md": b"other\n"}, first)
    refs = {"refs/heads/main": merge, "refs/heads/other": elsewhere}
    origin = scribe.write(tmp_path / "origin.git", refs)

    found = report(replay(system, tmp_path, str(origin), "--agent", agent, "--json"))
    shown = replay(system, tmp_path, str(origin), "--agent", f"{agent}-shown").stdout
    begun = report(
        replay(system, tmp_path, str(origin), "--agent", f"{agent}-begun", "--limit", "2", "--json")
    )

    assert (found["commits"], found["without_commit"], found["side_commits"]) == (4, 2, 2)
    made = memories.repo(org_id="replay", agent_id=agent).get_history().result(timeout_s=20)
    assert len(made) == found["commits"] - found["without_commit"]
    assert "2 commits of the original made none here" in shown
    assert "2 commits of merged side branches are left out" in shown
    assert (begun["commits"], begun["without_commit"], begun["side_commits"]) == (2, 1, 0)


def test_a_name_that_is_not_utf8_is_said_to_be_so(system: System, agent: str, tmp_path: Path) -> None:
    scribe = Scribe()
    only = scribe.commit({"kept.md": b"", "caf\udce9.md": b""})
    origin = scribe.write(tmp_path / "caf\udce9.git", {"refs/heads/main": only})

    found = report(replay(system, tmp_path, str(origin), "--agent", agent, "--json"))

    assert found["left_out"] == {"is not UTF-8 (it has bytes of another encoding)": 1}
