"""`memrepo ls ORG`: the agents of an org that have a memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner, Result

from memrepo import MemoryRepos
from memrepo.cli.commands import read
from memrepo.cli.main import main
from memrepo_worker.testing import InlineWorker, inline_worker

Run = Callable[..., Result]
AGENTS = ["note-1", "note-2", "note-3", "plan"]


@pytest.fixture(scope="module")
def worker() -> Iterator[InlineWorker]:
    with inline_worker() as worker:
        for agent in [*AGENTS, "note-0"]:
            worker.repos().repo(org_id="acme", agent_id=agent).create_repo().result(timeout_s=20)
        worker.repos().repo(org_id="acme", agent_id="note-0").delete_repo().result(timeout_s=20)
        yield worker


@pytest.fixture
def run(worker: InlineWorker, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(MemoryRepos, "from_env", worker.repos)
    monkeypatch.setattr(read, "_AGENTS_AT_ONCE", 2)
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def test_each_is_a_line_and_with_json_an_object(run: Run) -> None:
    assert run("ls", "acme").stdout.splitlines() == AGENTS
    assert json.loads(run("ls", "acme", "--json").stdout) == [
        {"org_id": "acme", "agent_id": agent} for agent in AGENTS
    ]


def test_a_prefix_a_limit_and_an_agent_to_go_on_after_pick_some(run: Run) -> None:
    assert run("ls", "acme", "--prefix", "note-").stdout.splitlines() == AGENTS[:3]
    assert run("ls", "acme", "--limit", "3").stdout.splitlines() == AGENTS[:3]
    assert run("ls", "acme", "--after", "note-2").stdout.splitlines() == AGENTS[2:]


def test_an_org_without_memories_is_an_empty_list_and_a_prefix_of_none_ends_with_3(run: Run) -> None:
    assert (run("ls", "nobody").exit_code, run("ls", "nobody", "--json").stdout) == (0, "[]\n")
    assert run("ls", "acme", "--prefix", "note-", "--after", "note-3").exit_code == 0
    none = run("ls", "acme", "--prefix", "x")
    assert (none.exit_code, none.stdout) == (3, "")
    assert "acme has no memory whose agent begins with 'x'" in none.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("acme", "--ref", "main"), "--ref needs an AGENT"),
        (("acme", "plan", "--prefix", "a"), "say PREFIX behind AGENT"),
        (("../acme",), "ORG: must be"),
        (("acme", "--prefix", "../x"), "--prefix: must be"),
        (("acme", "--after", "a/b"), "--after: must be"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(arguments: tuple[str, ...], says: str, run: Run) -> None:
    refused = run("ls", *arguments)

    assert (refused.exit_code, refused.stdout) == (2, "")
    assert says in refused.stderr
