"""docs/command-line.md names every command, every option, and what each prints as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from memrepo import MemoryRepos
from memrepo.cli.ending import EXIT_CODES, PIPE_CLOSED
from memrepo.cli.interrupt import INTERRUPTED
from memrepo.cli.main import main
from memrepo.cli.table import PRODUCER
from memrepo_worker.testing import InlineWorker, inline_worker
from tests.commands.table import TABLE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text()
TOLD_ONCE = {"--json", "--timeout", "--help"}
"""Options of many commands, told in the page's text."""


def command(name: str) -> click.Command:
    found: click.Command = main
    for part in name.split():
        assert isinstance(found, click.Group)
        inside = found.get_command(click.Context(found), part)
        assert inside is not None
        found = inside
    return found


def row_of(name: str) -> str:
    """Return the line of the page that is about a command."""
    (row,) = re.findall(rf"^\| `memrepo {name}(?:`| [A-Z\[][^`]*`).*$", PAGE, re.MULTILINE)
    return str(row)


def keys_of(name: str) -> set[str]:
    """Return the keys that the page gives to a command's JSON."""
    (keys,) = re.findall(rf"^\| (?:`[a-z ]+` )*`{name}`(?: `[a-z ]+`)* \| (.*) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", keys))


@pytest.mark.parametrize("name", TABLE)
def test_it_names_every_command_its_arguments_and_options(name: str) -> None:
    row = row_of(name)
    for param in command(name).params:
        if isinstance(param, click.Argument):
            assert (param.name or "").upper().removeprefix("JOB_") in row
        elif (option := max(param.opts, key=len)) not in TOLD_ONCE and not getattr(param, "hidden", False):
            assert f"`{option}" in row, option


@pytest.mark.parametrize("option", sorted(TOLD_ONCE))
def test_it_tells_once_of_options_that_many_commands_have(option: str) -> None:
    assert f"{option}`" in PAGE


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.keys and name != "config"])
def test_it_gives_every_command_the_keys_of_its_json(name: str) -> None:
    assert keys_of(name) == set((TABLE[name].keys or "").split())


@pytest.fixture(scope="module")
def worker() -> Iterator[InlineWorker]:
    with inline_worker() as worker:
        yield worker


@pytest.mark.parametrize("name", [name for name in PRODUCER if name != "config"])
def test_a_command_of_a_memory_prints_the_json_that_the_page_gives(
    name: str, worker: InlineWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryRepos, "from_env", worker.repos)
    repo = worker.repos().repo(org_id="acme", agent_id=name)
    repo.create_repo({"human.md": "likes tea\n"}).result()
    repo.commit({"human.md": "likes coffee\n"}, "Learn").result()
    repo.fork(f"{name}-fork").result()
    made = {"agent": name, "new": f"{name}-new", "fork": f"{name}-fork", "job": repo.get_head_sha().id}
    arguments = TABLE[name].well.format_map(made)

    printed = json.loads(CliRunner().invoke(main, [*arguments.split(), "--json"]).stdout)

    documents = printed if isinstance(printed, list) else [printed]
    assert documents
    if TABLE[name].text:
        assert all(isinstance(each, str) for each in documents)
    else:
        assert {frozenset(each) for each in documents} == {frozenset(keys_of(name))}


def test_it_says_that_config_prints_variables() -> None:
    assert "`config` an object of its variables" in PAGE


def test_it_tells_every_exit_code() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)}

    assert told == {0, *EXIT_CODES.values(), INTERRUPTED, PIPE_CLOSED}
