"""What the producer's commands share: their arguments, a client, and waiting with a sign of life."""

from __future__ import annotations

import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click
from click.exceptions import Exit

from memrepo.cli.ending import JSON_ASKED, CommandError, plain
from memrepo.cli.interrupt import INTERRUPTED, leave_at_once
from memrepo.cli.numbers import Seconds
from memrepo.cli.up_state import UpState, completed
from memrepo.cli.words import in_command_words
from memrepo.client import MemoryRepos
from memrepo.clock import steady_clock
from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.ids import new_id
from memrepo.jobs.job import Job
from memrepo.models import Author
from memrepo.repo import MemoryRepo
from memrepo.settings import Settings, environment

T = TypeVar("T")
Command = Callable[..., Any]

SIGN_OF_LIFE_S = 1.0
_IDENT = re.compile(r"\s*([^<>]+?)\s*<([^<>]*)>\s*\Z")


def _note_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta[JSON_ASKED] = value
    return value


json_option = click.option("--json", "as_json", is_flag=True, callback=_note_json, help="Print JSON.")
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=Seconds(),
    default=60,
    show_default=True,
    help="How long to wait for the result.",
)
request_id_option = click.option(
    "--request-id", metavar="ID", help="Sending the same request again under the same id applies it once."
)
ref_option = click.option(
    "--ref",
    metavar="REF",
    default="HEAD",
    show_default=True,
    help="A branch, a tag, or a commit's sha (7 digits will do); main~1 is the commit before main, "
    "main@{2026-11-26T12:00:00Z} what it was then.",
)


def of_agent(command: Command) -> Command:
    """Give a command the arguments ORG and AGENT, before its others."""
    return click.argument("org")(click.argument("agent")(command))


def settings_here() -> Settings:
    """Return the settings of the environment and, where it says nothing, of the ``memrepo up`` of this folder."""
    env, _ = completed(environment())
    return Settings.from_env(env)


def confirm(question: str) -> None:
    """Ask; whoever cannot answer, as standard input is closed, has not said yes."""
    try:
        click.confirm(question, abort=True, err=True)
    except OSError as error:
        raise click.Abort from error


@contextmanager
def client() -> Iterator[MemoryRepos]:
    """Give a client by the same, and close it; what goes wrong meanwhile is told in the words of the command line.

    Ctrl+C leaves at once, where closing would wait for the broker.
    """
    _, found = completed(environment())
    repos = MemoryRepos(settings=settings_here()) if found else MemoryRepos.from_env()
    try:
        yield repos
    except KeyboardInterrupt:
        _leave("Interrupted.")
    except MemoryRepoError as error:
        reworded = in_command_words(error, click.get_current_context())
        raise reworded from reworded.__cause__
    finally:
        repos.close()


def _leave(message: str, **details: str) -> NoReturn:
    """Tell that Ctrl+C has ended the command, and end it."""
    end = CommandError("Interrupted", message, INTERRUPTED, details)
    end.tell(as_json=bool(click.get_current_context().meta.get(JSON_ASKED)))
    leave_at_once()
    raise Exit(INTERRUPTED)


def say_where_from(found: UpState | None, *, as_json: bool) -> None:
    """Tell a person, if so, that it is a running ``memrepo up`` which says where to look."""
    if found is not None and not as_json:
        click.echo(f"Settings of {found}.", err=True)


def repo_of(repos: MemoryRepos, org: str, agent: str) -> MemoryRepo:
    """Return the memory that the arguments name."""
    return repos.repo(org_id=org, agent_id=agent)


@contextmanager
def sending(repo: MemoryRepo, request_id: str | None) -> Iterator[str]:
    """Give the id to send a write under; Ctrl+C meanwhile names it, since the write may have arrived."""
    sent_as = request_id or new_id()
    try:
        yield sent_as
    except KeyboardInterrupt:
        _leave(
            "Interrupted before the broker said that it holds the request. Whether it was applied is told by "
            f"`memrepo job {sent_as} --of {repo.org_id} {repo.agent_id}`.",
            request_id=sent_as,
        )


def outcome_of(job: Job[T], timeout_s: float) -> T:
    """Wait for a result; on a terminal say now and then what the job is doing. Ctrl+C names the job.

    Raises:
        MemoryRepoError: what became of the job; ``JobTimeoutError`` names the id by which it can be found again.
    """
    try:
        with _signs_of_life(job):
            return job.result(timeout_s=timeout_s)
    except KeyboardInterrupt:
        _leave(
            f"Interrupted. Job {job.id} goes on: `memrepo job {job.id} --wait` waits for its result.",
            job_id=job.id,
        )


@contextmanager
def _signs_of_life(job: Job[Any]) -> Iterator[None]:
    """Show on a terminal what a job is doing; the line is gone in the end."""
    if not sys.stderr.isatty():
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_show_status, args=(job, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(SIGN_OF_LIFE_S)  # it may be asking a broker that does not answer


def _show_status(job: Job[Any], ended: threading.Event) -> None:
    begun_s = steady_clock()
    shown = ""
    while not ended.wait(SIGN_OF_LIFE_S):
        try:
            state = str(job.describe())
        except MemoryRepoError:
            state = "no answer from the broker"
        text = f"{plain(state)}, waiting for {steady_clock() - begun_s:.0f} s"[: _columns() - 1]
        click.secho("\r" + text.ljust(len(shown)), err=True, nl=False, dim=True)
        shown = text
    if shown:
        click.echo("\r" + " " * len(shown) + "\r", err=True, nl=False)


def _columns() -> int:
    return shutil.get_terminal_size().columns


def author_of(text: str | Author) -> Author:
    """Return the author that ``NAME <EMAIL>`` names, the form that git uses."""
    if isinstance(text, Author):
        return text
    match = _IDENT.match(text)
    if match is None:
        raise click.BadParameter("must have the form 'NAME <EMAIL>'")
    try:
        return Author(name=match[1], email=match[2], type="user")
    except InvalidRequestError:  # bytes that are no UTF-8
        raise click.BadParameter("is not valid Unicode") from None
