"""What commands print: for people, or with ``--json`` for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from memrepo.cli.ending import plain, printing_of
from memrepo.models import Change, CommitResult, Diff, FileInfo, Match, MemoryCommit, Model, RequestOutcome
from memrepo.wording import counted


def show_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(to_json(value), indent=2, ensure_ascii=False))


def to_json(value: object) -> object:
    """Return the JSON form of a result."""
    if isinstance(value, Model):
        return value.model_dump(mode="json")
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def show_result(result: CommitResult) -> None:
    """Print what a commit did, as git does: ``[main 1a2b3c4] message`` and its counts; a new branch is named."""
    if not result.created:
        click.echo(f"nothing changed: {'new branch ' * result.new_branch}{result.branch} is at {result.sha}")
        return
    where = click.style(f"[{result.branch} {result.sha[:12]}]", fg="yellow")
    click.echo(f"{where} {plain(result.message.partition(chr(10))[0])}")
    if result.new_branch:
        click.echo(f" new branch {result.branch}")
    click.echo(_counts(result))


def print_result(result: CommitResult, as_json: bool) -> None:
    """Print what a commit did; where that cannot be written, standard error says so and names the commit."""
    done = "The commit was made" if result.created else "Nothing changed"
    with printing_of(f"{done}: {result.branch} is at {result.sha}", branch=result.branch, sha=result.sha):
        show_json(result) if as_json else show_result(result)


def show_commit(commit: MemoryCommit) -> None:
    """Print one commit of a history, as ``git log`` does."""
    click.secho(f"commit {commit.sha}", fg="yellow")
    click.echo(f"Author: {plain(commit.author_name)} <{plain(commit.author_email)}> ({commit.author_type})")
    click.echo(f"Date:   {commit.timestamp.isoformat()}")
    click.echo("".join(f"\n    {plain(line)}" for line in commit.message.splitlines()))
    click.echo(f"\n{_counts(commit)}\n")


def _counts(commit: MemoryCommit) -> str:
    return f" {counted(len(commit.files_changed), 'file')} changed, +{commit.additions} -{commit.deletions}"


def show_outcome(outcome: RequestOutcome) -> None:
    """Print what became of a request: its verdict and sha, and the commit if it is still there."""
    click.echo(f"{outcome.verdict} {outcome.sha or ''}".rstrip())
    if outcome.commit is not None:
        show_commit(outcome.commit)


def show_file_line(file: FileInfo) -> None:
    """Print a file's mode, size and path."""
    mode = "x" if file.executable else "-"
    click.echo(f"{mode} {file.size:>10} {plain(file.path)}")


def show_change(change: Change) -> None:
    """Print a change: ``8 main 1a2b3c4..5d6e7f8 2 commits``; or that a ref is new, or gone."""
    name = plain(change.ref.removeprefix("refs/heads/").removeprefix("refs/"))
    old, new = (sha[:12] if sha else None for sha in (change.old, change.new))
    moved = f"{old}..{new}" if old and new else f"new at {new}" if new else f"gone from {old}"
    click.echo(f"{change.seq} {name} {moved} {counted(len(change.commits), 'commit')}")


def show_matches(matches: Sequence[Match]) -> None:
    """Print what was found as ``git grep`` does: ``path:line:text``, lines around it with dashes, each once."""
    found = {(match.path, match.line) for match in matches}
    path, last = "", 0
    for match in matches:
        lines = [*match.before, match.text, *match.after]
        for number, text in enumerate(lines, start=match.line - len(match.before)):
            goes_on = match.path == path
            if goes_on and number <= last:
                continue
            if path and len(lines) > 1 and not (goes_on and number == last + 1):
                click.echo("--")
            sign = ":" if (match.path, number) in found else "-"
            click.echo(f"{plain(match.path)}{sign}{number}{sign}{plain(text)}")
            path, last = match.path, number


_DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def show_diff(difference: Diff) -> None:
    """Print the patches, as ``git diff`` does; a binary file has none, and of a mode it is said from what to what."""
    for file in difference.files:
        if file.old_mode and file.new_mode and file.old_mode != file.new_mode:
            click.echo(f"mode change {file.old_mode} => {file.new_mode} {plain(file.path)}")
        if file.binary:
            click.echo(f"{file.status} binary file {plain(file.path)}")
        for line in file.patch.splitlines():
            heading = line.startswith(("+++", "---"))
            colour = None if heading else _DIFF_COLOURS.get(line[:1])
            click.secho(plain(line), fg=colour, bold=heading)
