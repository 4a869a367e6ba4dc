"""What goes wrong is told in flags and commands, as no argument or call of Python helps at a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.conftest import Places
from tests.commands.test_every_command_ends_as_documented import run

Fill = Callable[[str], str]

UNKNOWN = "00000000-0000-0000-0000-000000000000"
NO_RECORD = "it may wait in its queue for a worker, its result may have expired, or it was never sent. "
STILL_UNKNOWN = (
    f"Job {UNKNOWN} has not ended within 0.1 s: unknown, it has no record: {NO_RECORD}If it was sent, it goes on: "
    f"`memrepo job {UNKNOWN} --wait` waits again."
)
NO_RECORD_OF_IT = (
    f"There is no record of job {UNKNOWN}: {NO_RECORD}`memrepo job {UNKNOWN} --wait` waits for it, "
    f"`memrepo job {UNKNOWN} --of ORG AGENT` asks that agent's memory."
)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            "log acme {new}",
            3,
            "acme/{new} has no memory yet: begin it with `memrepo create`, or commit with --create",
        ),
        ("create acme {agent}", 4, "acme/{agent} has a memory already: use `memrepo commit`"),
        (f"job {UNKNOWN} --wait --timeout 0.1", 5, STILL_UNKNOWN),
        (f"job {UNKNOWN}", 3, NO_RECORD_OF_IT),
        (
            "commit acme {agent} -m m --expected-head abc",
            2,
            "--expected-head: must be a full commit sha of 40 lower-case hexadecimal digits",
        ),
        ("commit acme {agent} -m m --delete a --put ../b {bundle}", 2, "--put '../b': has an empty, "),
        ("create acme {new} --put ../b {bundle}", 2, "--put '../b': has an empty, "),
        ("commit acme {agent} -m m --delete a/", 2, "--delete 'a/': "),
        ("merge acme {agent} main --text a b --delete ../b", 2, "--delete '../b': has an empty, "),
        ("merge acme {agent} main --text a b", 2, "--text 'a': 'a' does not conflict"),
        (
            "merge acme {agent} main --preview --fast-forward never",
            2,
            "--preview changes nothing, and --fast-forward says how to: ",
        ),
        ("branches acme {agent} --delete main", 2, "--delete: main cannot be deleted"),
        ("head acme {agent} --timeout soon", 2, "'soon' is not a number of seconds."),
        ("ls acme {agent} --limit foo", 2, "'foo' is not a whole number from 1 to 10000."),
        ("log acme {agent} -n 0", 2, "'0' is not a whole number from 1 to 1000."),
        ("up --port foo", 2, "'foo' is not a whole number from 0 to 65535."),
        ("replay {repository} --limit 0", 2, "'0' is not a whole number of 1 or more."),
        (
            "log acme {agent} --ref main~2",
            3,
            "'main~2' goes past the first commit: from 'main' there are 2 commits, the first is main~1",
        ),
    ],
)
def test_the_line_names_the_flag_or_the_command(
    arguments: str, code: int, says: str, places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    told = run(arguments.split(maxsplit=1)[0], filled_in(arguments), tmp_path, places.env(""))

    assert (told.code, told.stdout) == (code, "")
    assert filled_in(says) in told.stderr
    assert told.stderr.count("\n") == 1


def test_programs_are_told_the_field_still(places: Places, filled_in: Fill, tmp_path: Path) -> None:
    told = run(
        "commit",
        filled_in("commit acme {agent} -m m --text ../x y --json"),
        tmp_path,
        places.env(""),
    )

    assert json.loads(told.stderr)["error"]["details"]["field"] == "changes[0].path"


def test_a_branch_is_created_or_deleted_and_of_both_nothing_is_done(
    places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    env = places.env("")
    told = run("branches", filled_in("branches acme {agent} --create x --delete nope"), tmp_path, env)
    listed = run("branches", filled_in("branches acme {agent} --json"), tmp_path, env)

    assert told.code == 2
    assert "--create and --delete are two commands: give one of them. Nothing was done." in told.stderr
    assert [branch["name"] for branch in json.loads(listed.stdout)] == ["main"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("ls acme {agent} nowhere/", "there is no file whose path begins with 'nowhere/' at HEAD"),
        ("log acme {agent} nowhere.md", "no commit in the history of HEAD has changed 'nowhere.md'"),
        ("log acme {agent} human.md --ref main~5", "'main~5' goes past the first commit"),
    ],
)
def test_a_path_that_never_was_ends_with_three(
    arguments: str, says: str, places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    told = run(arguments.split(maxsplit=1)[0], filled_in(arguments), tmp_path, places.env(""))

    assert (told.code, told.stdout) == (3, "")
    assert says in told.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "ls acme {agent} human",
        "ls acme {agent} human --after human.md",
        "ls acme {agent} --after zzz",
        "log acme {agent} human.md",
    ],
)
def test_the_end_of_a_list_ends_with_nought(
    arguments: str, places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    told = run(arguments.split(maxsplit=1)[0], filled_in(arguments), tmp_path, places.env(""))

    assert (told.code, told.stderr) == (0, "")


def test_a_deleted_file_has_a_history(places: Places, filled_in: Fill, tmp_path: Path) -> None:
    env = places.env("")
    run("commit", filled_in("commit acme {agent} -m gone --delete human.md"), tmp_path, env)

    assert run("log", filled_in("log acme {agent} human.md"), tmp_path, env).code == 0
    assert run("ls", filled_in("ls acme {agent} human.md"), tmp_path, env).code == 3
