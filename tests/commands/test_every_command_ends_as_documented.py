"""Every command in every situation: its exit code, one line with the cause, and the same as JSON; never a traceback."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from memrepo.cli.main import main
from memrepo.settings import environment
from tests.commands.conftest import Places
from tests.commands.table import SITUATIONS, TABLE, Case, Row
from tests.support.commands import MEMREPO, Ended, memrepo
from tests.support.started import started
from tests.support.waiting import wait_for

Fill = Callable[[str], str]

A_LINE_EACH = {"store adopt", "store du"}
"""Of many agents they print a document for each, on a line of its own."""

THAT_SERVE = {"flower", "up", "worker"}
"""They end when they are told to."""

UNTRIED = "no answer yet, to a connection"

CASES = [(name, situation) for name, row in TABLE.items() for situation in row.cases]
WITH_JSON = [name for name, row in TABLE.items() if row.keys is not None]


def leaves(group: click.Group, before: str = "") -> Iterator[str]:
    """Yield the name of every command that does something."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield before + name


def run(name: str, arguments: str, folder: Path, env: Mapping[str, str], *, apart: bool = False) -> Ended:
    """Run a command in this process, or in one of its own, as a user would in ``folder``."""
    if apart or name in ("flower", "worker"):  # which set up logging
        return memrepo(*arguments.split(), folder=folder, env=env)
    result = CliRunner(env=env).invoke(main, arguments.split())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception  # that would have been a traceback
    return Ended(result.exit_code, result.stdout, result.stderr)


def run_with_time_to_try(name: str, arguments: str, folder: Path, env: Mapping[str, str]) -> Ended:
    """Run a command; once more with more time where a busy machine has let it try nothing before its time was up."""
    ended = run(name, arguments, folder, env)
    if UNTRIED not in ended.stderr:
        return ended
    return run(name, arguments, folder, {**env, "MEMREPO_ENQUEUE_TIMEOUT_S": "10"})


def documents(name: str, stdout: str) -> list[Any]:
    """Return the JSON documents that a command printed; of a list what is in it."""
    if name in A_LINE_EACH:
        return [json.loads(line) for line in stdout.splitlines()]
    value = json.loads(stdout)
    return value if isinstance(value, list) else [value]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where no ``memrepo up`` runs; what ``up`` does with signals is undone."""
    monkeypatch.chdir(tmp_path)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def test_the_table_has_every_command() -> None:
    assert sorted(TABLE) == sorted(leaves(main))


@pytest.mark.parametrize("name", TABLE)
def test_every_situation_is_met_or_said_to_be_impossible(name: str) -> None:
    row = TABLE[name]

    assert sorted([*row.cases, *row.never]) == sorted(SITUATIONS)


@pytest.mark.parametrize("name", [name for name in TABLE if name not in THAT_SERVE])
def test_where_all_goes_well_it_ends_with_nought(
    name: str, places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    ended = run(
        name, filled_in(TABLE[name].well), tmp_path, env_of(TABLE[name], "", places, filled_in), apart=True
    )

    assert ended.code == 0, ended
    assert ended.stdout
    assert ended.stderr == "" or name == "replay"  # which shows how far it is


@pytest.mark.parametrize("name", [name for name in WITH_JSON if name not in THAT_SERVE])
def test_as_json_it_prints_one_document_of_the_documented_form(
    name: str, places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    row = TABLE[name]
    ended = run(name, f"{filled_in(row.well)} --json", tmp_path, env_of(row, "", places, filled_in))

    assert (ended.code, ended.stderr) == (0, "")
    found = documents(name, ended.stdout)
    assert found
    if row.text:
        assert all(isinstance(each, str) for each in found)
    else:
        assert {frozenset(each) for each in found} == {frozenset((row.keys or "").split())}


@pytest.mark.parametrize(("name", "situation"), CASES)
def test_what_goes_wrong_is_one_line_with_its_cause_and_an_exit_code(
    name: str, situation: str, places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    case = TABLE[name].cases[situation]
    env = env_of(case, situation, places, filled_in)
    ended = run_with_time_to_try(name, filled_in(case.arguments), tmp_path, env)

    assert ended.code == case.code, ended
    assert filled_in(case.says) in ended.stdout + ended.stderr
    assert "s3cr3t" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    if case.kind:
        assert ended.stderr.startswith("Error: ")
        assert ended.stderr.count("\n") == 1
        assert ended.stdout == ""


@pytest.mark.parametrize(
    ("name", "situation"), [(name, situation) for name, situation in CASES if name in WITH_JSON]
)
def test_what_goes_wrong_is_json_too(
    name: str, situation: str, places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    case = TABLE[name].cases[situation]
    arguments = f"{filled_in(case.arguments)} --json"
    ended = run_with_time_to_try(name, arguments, tmp_path, env_of(case, situation, places, filled_in))

    assert ended.code == case.code, ended
    if not case.kind:  # doctor: what it found is the answer
        found = [each["found"] for each in json.loads(ended.stdout) if not each["ok"]]
        assert any(filled_in(case.says) in text for text in found)
        return
    told = json.loads(ended.stderr)
    assert set(told) == {"error"}
    assert set(told["error"]) == {"type", "message", "details"}
    assert told["error"]["type"] == case.kind
    assert filled_in(case.says) in told["error"]["message"]
    assert ended.stdout == ""


def env_of(case: Case | Row, situation: str, places: Places, filled_in: Fill) -> dict[str, str]:
    return {
        **places.env(situation),
        "MEMREPO_CACHE_DIR": "cache",
        **{name: filled_in(value) for name, value in case.env.items()},
    }


def test_a_time_out_names_its_own_limit_and_what_the_store_said(
    places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    env = places.env("store away")
    job_id = run(
        "commit", filled_in("commit acme {new} -m m --text a x --no-wait"), tmp_path, env
    ).stdout.strip()

    def retrying() -> bool:
        return run("job", f"job {job_id}", tmp_path, env).stdout.startswith("retrying, ")

    wait_for(retrying, "the worker to have tried")
    told = run("job", f"job {job_id} --wait --timeout 0.2", tmp_path, env)

    assert told.code == 5
    assert f"Job {job_id} has not ended within 0.2 s: retrying, " in told.stderr
    assert "not a directory (ENOTDIR)" in told.stderr


def test_a_worker_ends_with_nought_when_it_is_told_to_stop(tmp_path: Path, places: Places) -> None:
    env = {**places.env(""), "MEMREPO_CACHE_DIR": "cache", "PATH": environment()["PATH"]}
    log = tmp_path / "memrepo.log"
    with started(
        [MEMREPO, "worker"], folder=tmp_path, ready=lambda: "ready" in log.read_text(), env=env
    ) as worker:
        worker.terminate()
        assert worker.wait(40) == 0


def test_a_purge_asks_before_it_removes_anything_and_a_dry_run_removes_nothing(
    places: Places, filled_in: Fill, tmp_path: Path
) -> None:
    row = TABLE["store purge"]
    env = env_of(row, "", places, filled_in)
    purge = filled_in(row.well).removesuffix(" --yes")

    dry = run("store purge", f"{purge} --dry-run", tmp_path, env)
    refused = run("store purge", f"{purge} --json", tmp_path, env)
    unanswered = run("store purge", purge, tmp_path, env)
    again = run("store purge", f"{purge} --dry-run", tmp_path, env)

    assert dry.code == 0
    assert "to remove" in dry.stdout
    assert not dry.stdout.split(": ")[1].startswith("0 versions")
    assert (refused.code, "say --yes" in refused.stderr) == (2, True)
    assert (unanswered.code, "nothing was done" in unanswered.stderr) == (1, True)
    assert again == dry
