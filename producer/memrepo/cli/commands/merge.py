"""The command that merges: ``merge``."""

from __future__ import annotations

import click
from click.core import ParameterSource

from memrepo.cli.commands.write import Files, changes_of, put_option
from memrepo.cli.common import (
    client,
    json_option,
    of_agent,
    outcome_of,
    repo_of,
    request_id_option,
    sending,
    timeout_option,
)
from memrepo.cli.ending import CONFLICT, CommandError, plain, printing_of
from memrepo.cli.output import show_json
from memrepo.cli.words import naming_changes
from memrepo.cli.writing import author_option, no_wait_option, was_sent
from memrepo.models import Author, FastForward, Favor, MergePreview, MergeResult
from memrepo.wording import counted

_NOT_WITH_PREVIEW = {"message", "author", "fast_forward", "expected_head", "request_id", "no_wait"}


@click.command()
@of_agent
@click.argument("source")
@click.option(
    "--target", metavar="NAME", default="main", show_default=True, help="The branch that it goes into."
)
@click.option("-m", "--message", help="The commit message; by default it says what was merged.")
@author_option
@click.option(
    "--fast-forward",
    type=click.Choice(["prefer", "only", "never"]),
    default="prefer",
    show_default=True,
    help="Whether to move TARGET without a commit where it has nothing else.",
)
@click.option("--squash", is_flag=True, help="Make a commit of one parent.")
@click.option(
    "--favor",
    type=click.Choice(["ours", "theirs", "union"]),
    help="Whose lines to take where both changed them.",
)
@put_option
@click.option(
    "--text", "texts", nargs=2, multiple=True, metavar="PATH TEXT", help="Settle a conflict by TEXT."
)
@click.option(
    "--delete", "deleted", multiple=True, metavar="PATH", help="Settle a conflict without the file."
)
@click.option("--expected-head", metavar="SHA", help="Refuse if TARGET is elsewhere; a whole sha.")
@click.option("--preview", is_flag=True, help="Only tell what it would do; 4 where it would conflict.")
@request_id_option
@no_wait_option
@timeout_option
@json_option
def merge(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    source: str,
    target: str,
    message: str | None,
    author: Author,
    fast_forward: FastForward,
    squash: bool,
    favor: Favor | None,
    files: Files,
    texts: tuple[tuple[str, str], ...],
    deleted: tuple[str, ...],
    expected_head: str | None,
    preview: bool,
    request_id: str | None,
    no_wait: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Bring what SOURCE has into a branch, as one commit of two parents.

    --put, --text and --delete say what is to be there where both sides changed the same.
    """
    if preview:
        ctx = click.get_current_context()
        given = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        for name in sorted(given & _NOT_WITH_PREVIEW):
            flag = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"--preview changes nothing, and {flag} says how to: give one of them.")
    resolutions, options = changes_of(files, texts, deleted)
    with client() as repos, naming_changes(options):
        repo = repo_of(repos, org, agent)
        if preview:
            asked = repo.preview_merge(source, target, squash=squash, favor=favor, resolutions=resolutions)
            _tell(outcome_of(asked, timeout_s), as_json)
            return
        with sending(repo, request_id) as sent_as:
            job = repo.merge(
                source,
                target,
                message,
                author=author,
                fast_forward=fast_forward,
                squash=squash,
                favor=favor,
                resolutions=resolutions,
                expected_head=expected_head,
                request_id=sent_as,
            )
        if no_wait:
            was_sent(job, as_json)
            return
        result = outcome_of(job, timeout_s)
    with printing_of(f"{_words(result)}: {target} is at {result.sha}", branch=target, sha=result.sha):
        show_json(result) if as_json else click.echo(f"{_words(result)}: {target} is at {result.sha}")


def _words(result: MergeResult) -> str:
    changed = counted(len(result.files_changed), "file")
    return {
        "up_to_date": "already up to date",
        "fast_forward": f"fast-forward, {changed} changed",
        "merge": f"merged, {changed} changed",
        "squash": f"squashed, {changed} changed",
    }[result.kind]


def _tell(found: MergePreview, as_json: bool) -> None:
    show_json(found) if as_json else _show(found)
    if found.conflicts:
        raise CommandError("MergeConflict", "", CONFLICT)


def _show(found: MergePreview) -> None:
    click.echo(f"{found.kind}: {counted(len(found.files_changed), 'file')} would change")
    for path in found.files_changed:
        click.echo(f"  {plain(path)}")
    for conflict in found.conflicts:
        lines = ", ".join(f"line {hunk.ours.first}" for hunk in conflict.hunks)
        click.echo(f"conflict ({conflict.kind}): {plain(conflict.path)}{f', {lines}' if lines else ''}")
