"""The command of tags: ``tags``."""

from __future__ import annotations

import click

from memrepo.cli.common import json_option, of_agent, request_id_option, timeout_option
from memrepo.cli.refs import RefCommand, RefKind, refuse_two
from memrepo.models import Tag

_TAGS: RefKind[Tag] = RefKind("tag", "set", lambda repo: repo.list_tags())


@click.command()
@of_agent
@click.option("--create", metavar="NAME", help="Give a commit a name that stays there.")
@click.option("--ref", metavar="REF", show_default="main", help="Which commit --create names.")
@click.option("--overwrite", is_flag=True, help="Let --create move a tag that is elsewhere.")
@click.option("--delete", metavar="NAME", help="Remove a tag; the commit stays in the journal.")
@click.option(
    "--expected-head",
    metavar="SHA",
    help="Refuse to move or remove it if it is elsewhere; a whole sha.",
)
@request_id_option
@timeout_option
@json_option
def tags(  # noqa: PLR0913, PLR0917 - one argument per option
    org: str,
    agent: str,
    create: str | None,
    ref: str | None,
    overwrite: bool,
    delete: str | None,
    expected_head: str | None,
    request_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """List the tags and their commits, after creating or deleting one."""
    refuse_two(create, delete)
    if create is None and (ref is not None or overwrite):
        raise click.UsageError("--ref and --overwrite say how --create names a commit. Nothing was done.")
    if expected_head is not None and not overwrite and delete is None:
        raise click.UsageError(
            "--expected-head is where a tag is that is moved or removed: give --overwrite or --delete, too. "
            "Nothing was done."
        )
    RefCommand(_TAGS, create, delete, request_id, timeout_s, as_json).run(
        (org, agent),
        lambda repo, name, sent_as: repo.create_tag(
            name,
            ref=ref or "main",
            overwrite=overwrite,
            expected_head=expected_head,
            request_id=sent_as,
        ),
        lambda repo, name, sent_as: repo.delete_tag(name, expected_head=expected_head, request_id=sent_as),
    )
