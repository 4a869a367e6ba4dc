"""The words of the command line for what the Python API says: a flag for an argument, a command for a call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import click

from memrepo.errors import InvalidRequestError, MemoryRepoError

_PHRASES: Sequence[tuple[re.Pattern[str], str]] = [
    (re.compile(python), command)
    for python, command in (
        (
            r"call create_repo, or commit with create_repo_if_missing=True",
            "begin it with `memrepo create`, or commit with --create",
        ),
        (r"has a memory already: use commit\b", "has a memory already: use `memrepo commit`"),
        (r"wait again, or poll job\.describe\(\)\.", "`memrepo job {job_id} --wait` waits again."),
        (
            r'repo\.find_request\("([^"]*)"\)( \(or the request id that you chose\))?',
            r"`memrepo job \1 --of ORG AGENT`\2",
        ),
        (r"ask for fewer with paths=", "name fewer PATHS"),
        (r"ask for less, with limit=, context= or paths=", "ask for less, by --limit, --context or PATHS"),
        (r"to be searched, with paths=", "to be searched as PATHS"),
        (r"fork without the history \(history=False\)", "fork with --no-history"),
        (r"overwrite=True moves it", "--overwrite moves it"),
        (r"overwrite=True replaces it", "--overwrite replaces it"),
        (r"Decide by resolutions or favor", "Decide by --put, --text, --delete or --favor"),
        (r"Decide by resolutions\b", "Decide by --put, --text or --delete"),
        (r"begin anew, without after\b", "begin anew, without --after"),
    )
]
"""What a message may hold that only a Python program can do, and what a command line does."""

_NAMED_OTHERWISE: Mapping[str, Sequence[str]] = {
    "org_id": ["org"],
    "agent_id": ["agent"],
    "new_agent_id": ["new_agent"],
    "history": ["no_history"],
    "name": ["create", "delete"],
    "wanted": ["job_id"],
    "text": ["text", "pattern"],
    "prefix": ["agents_prefix", "prefix"],
}
"""Fields of requests that a command's parameter has another name for; of several the one that was given."""

_FIELD = re.compile(r"(\w+)((?:\[\d+\]|\.\w+)*): ")


def in_command_words(error: MemoryRepoError, ctx: click.Context) -> MemoryRepoError:
    """Return the same error as somebody at a terminal can follow it, who gave the arguments of that context."""
    message = error.message
    for python, command in _PHRASES:
        message = python.sub(command.replace("{job_id}", str(error.details.get("job_id"))), message)
    field = _FIELD.match(message)
    if isinstance(error, InvalidRequestError) and field:
        name = _parameter(field[1], ctx) or field[1]
        message = f"{name}{field[2]}: {message[field.end() :]}"
    reworded = type(error)(message, error.details)
    reworded.__cause__ = error.__cause__
    return reworded


def _parameter(field: str, ctx: click.Context) -> str | None:
    """Return what a command calls a field of its request: a flag, or an argument in capitals."""
    parameters = {parameter.name: parameter for parameter in ctx.command.params}
    for name in _NAMED_OTHERWISE.get(field, [field]):
        if ctx.params.get(name) is not None and (parameter := parameters.get(name)) is not None:
            is_flag = isinstance(parameter, click.Option)
            return max(parameter.opts, key=len) if is_flag else parameter.human_readable_name
    return None


@contextmanager
def naming_changes(options: Sequence[str]) -> Iterator[None]:
    """Have what is wrong with one of the changes named by the option that gave it; the details keep its number."""
    try:
        yield
    except InvalidRequestError as error:
        found = re.match(r"(?:changes|initial_files|resolutions)\[(\d+)\]\.\w+: ", error.message)
        if found is None or int(found[1]) >= len(options):
            raise
        option = options[int(found[1])]
        raise type(error)(f"{option}: {error.message[found.end() :]}", error.details) from error


@contextmanager
def naming_field(field: str, word: str) -> Iterator[None]:
    """Have what is wrong with a field of the request named by the argument that gave it, where it has several."""
    try:
        yield
    except InvalidRequestError as error:
        message = re.sub(rf"\A{field}: ", f"{word}: ", error.message)
        raise type(error)(message, error.details) from error


@contextmanager
def naming_edit() -> Iterator[None]:
    """Have what is wrong with the one edit of a command named by the argument that gave it."""
    try:
        yield
    except InvalidRequestError as error:
        message = error.message.removeprefix("changes[0].")
        raise type(error)(message, error.details) from error
