"""Commands that compare, restore and branch: ``diff``, ``restore``, ``branches``."""

from __future__ import annotations

import click

from memrepo.cli.common import (
    author_of,
    client,
    json_option,
    of_agent,
    outcome_of,
    repo_of,
    request_id_option,
    sending,
    timeout_option,
)
from memrepo.cli.output import print_result, show_diff, show_json
from memrepo.cli.refs import RefCommand, RefKind, refuse_two
from memrepo.errors import PathNotFoundError
from memrepo.models import DEFAULT_AUTHOR, Author, Branch, Diff
from memrepo.repo import MemoryRepo

_BRANCHES: RefKind[Branch] = RefKind("branch", "begun", lambda repo: repo.list_branches())


@click.command()
@of_agent
@click.argument("base")
@click.argument("target", default="main")
@click.argument("paths", nargs=-1)
@timeout_option
@json_option
def diff(
    org: str, agent: str, base: str, target: str, paths: tuple[str, ...], timeout_s: float, as_json: bool
) -> None:
    """Show what changed from BASE to TARGET, in all files or those of PATHS.

    Both are branches, tags or shas (7 digits will do); main~1 is the commit before main. If a path is in neither, the
    exit code is 3.
    """
    with client() as repos:
        repo = repo_of(repos, org, agent)
        difference = outcome_of(repo.diff(base, target, paths=paths or None), timeout_s)
        for path in paths:
            _require_path(repo, path.removeprefix("/"), difference, timeout_s)
    show_json(difference) if as_json else show_diff(difference)


def _require_path(repo: MemoryRepo, path: str, difference: Diff, timeout_s: float) -> None:
    """Refuse a path that names nothing on either side: a script that mistyped it must not take that for no change."""
    below = f"{path}/"
    if any(file.path == path or file.path.startswith(below) for file in difference.files):
        return
    for ref in (difference.base_sha, difference.target_sha):
        for prefix in (path, below):
            first = outcome_of(repo.list_files(prefix, ref=ref, limit=1), timeout_s)
            if first and (first[0].path == path or first[0].path.startswith(below)):
                return
    raise PathNotFoundError(
        f"there is no file at or below {path!r}, neither at the one commit nor at the other",
        {"path": path, "base_sha": difference.base_sha, "target_sha": difference.target_sha},
    )


@click.command()
@of_agent
@click.argument("ref")
@click.argument("paths", nargs=-1)
@click.option(
    "--branch", metavar="NAME", default="main", show_default=True, help="Where the new commit goes."
)
@click.option(
    "--author",
    type=author_of,
    metavar="'NAME <EMAIL>'",
    default=DEFAULT_AUTHOR,
    show_default="memrepo",
    help="Who restores it.",
)
@click.option("-m", "--message", help="The commit message; by default it says what was restored.")
@click.option("--expected-head", metavar="SHA", help="Refuse if the branch is elsewhere; a whole sha.")
@request_id_option
@timeout_option
@json_option
def restore(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    ref: str,
    paths: tuple[str, ...],
    branch: str,
    author: Author,
    message: str | None,
    expected_head: str | None,
    request_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Bring back what was at REF as a new commit: all files, or those of PATHS.

    REF is a branch, a tag or a sha (7 digits will do); main~1 is the commit before main.
    """
    with client() as repos:
        repo = repo_of(repos, org, agent)
        with sending(repo, request_id) as sent_as:
            job = repo.restore(
                ref,
                paths=paths or None,
                branch=branch,
                author=author,
                message=message,
                expected_head=expected_head,
                request_id=sent_as,
            )
        result = outcome_of(job, timeout_s)
    print_result(result, as_json)


@click.command()
@of_agent
@click.option("--create", metavar="NAME", help="Begin a branch.")
@click.option("--start-point", metavar="REF", show_default="main", help="Where --create begins it.")
@click.option("--delete", metavar="NAME", help="Remove a branch; its commits stay in the journal.")
@click.option(
    "--expected-head", metavar="SHA", help="Refuse --delete if the branch is elsewhere; a whole sha."
)
@request_id_option
@timeout_option
@json_option
def branches(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    create: str | None,
    start_point: str | None,
    delete: str | None,
    expected_head: str | None,
    request_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List the branches and their commits, after creating or deleting one."""
    refuse_two(create, delete)
    if start_point is not None and create is None:
        raise click.UsageError(
            "--start-point is where --create begins a branch: give both. Nothing was done."
        )
    if expected_head is not None and delete is None:
        raise click.UsageError(
            "--expected-head is where a branch is that --delete removes: give both. Nothing was done."
        )
    RefCommand(_BRANCHES, create, delete, request_id, timeout_s, as_json).run(
        (org, agent),
        lambda repo, name, sent_as: repo.create_branch(
            name, start_point=start_point or "main", request_id=sent_as
        ),
        lambda repo, name, sent_as: repo.delete_branch(name, expected_head=expected_head, request_id=sent_as),
    )
