"""What the producer's commands share: their arguments, a client, and waiting with a sign of life."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from memrepo.calls import MemoryRepo
from memrepo.client import MemoryRepos
from memrepo.clock import steady_clock
from memrepo.errors import JobTimeoutError
from memrepo.job import Job
from memrepo.models import Author

T = TypeVar("T")
Command = Callable[..., Any]

SIGN_OF_LIFE_S = 1.0
_IDENT = re.compile(r"\s*([^<>]+?)\s*<([^<>]*)>\s*\Z")

JSON_ASKED = "memrepo.json"
"""Set in a context's ``meta`` when errors are wanted as JSON too."""


def _note_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta[JSON_ASKED] = value
    return value


json_option = click.option("--json", "as_json", is_flag=True, callback=_note_json, help="Print JSON.")
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=60.0,
    show_default=True,
    help="Seconds to wait for the result.",
)
ref_option = click.option(
    "--ref",
    default="HEAD",
    show_default=True,
    help="A branch, a tag, or a commit sha (7 digits will do); main~1 is the one before main.",
)


def of_agent(command: Command) -> Command:
    """Give a command the arguments ORG and AGENT, before its others."""
    return click.argument("org")(click.argument("agent")(command))


def client() -> MemoryRepos:
    """Return a client by the environment."""
    return MemoryRepos.from_env()


def repo_of(repos: MemoryRepos, org: str, agent: str) -> MemoryRepo:
    """Return the memory that the arguments name."""
    return repos.repo(org_id=org, agent_id=agent)


def outcome_of(job: Job[T], timeout_s: float) -> T:
    """Wait for a result; on a terminal say now and then what the job is doing.

    Raises:
        MemoryRepoError: what became of the job; ``JobTimeoutError`` names the id by which it can be found again.
    """
    ends_at = steady_clock() + timeout_s
    tell = sys.stderr.isatty()
    while (left_s := ends_at - steady_clock()) > SIGN_OF_LIFE_S:
        try:
            return job.result(timeout_s=SIGN_OF_LIFE_S)
        except JobTimeoutError:
            if tell:
                click.secho(
                    f"\r{job.status()}, waiting for {timeout_s - left_s:.0f} s ", err=True, nl=False, dim=True
                )
    return job.result(timeout_s=max(left_s, 0))


def author_of(text: str | Author) -> Author:
    """Return the author that ``NAME <EMAIL>`` names, the form that git uses."""
    if isinstance(text, Author):
        return text
    match = _IDENT.match(text)
    if match is None:
        raise click.BadParameter("must have the form 'NAME <EMAIL>'")
    return Author(name=match[1], email=match[2], type="user")
